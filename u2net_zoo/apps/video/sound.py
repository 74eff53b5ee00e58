"""Sound on its way to another container: as it is where that takes its codec, otherwise encoded anew."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...errors import OutputError

if TYPE_CHECKING:
    from av import AudioFrame, Packet
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

__all__ = ["Sound", "carry"]


class Sound:
    """One audio stream, copied packet by packet.

    Attributes:
        facts: its codec and whether it was copied, ready for JSON.
    """

    def __init__(self, output: "OutputContainer", stream: "AudioStream"):
        self.output = output
        self.target = output.add_stream_from_template(stream)
        self.facts = {"codec": stream.codec_context.codec.canonical_name, "how": "copied"}

    def feed(self, packet: "Packet") -> None:
        """One packet of the source."""
        packet.stream = self.target
        self.output.mux(packet)

    def finish(self) -> None:
        """After the last packet."""


class EncodedSound(Sound):
    """One audio stream, decoded and encoded by `codec`, at its sample rate and layout where the codec takes them."""

    def __init__(self, output: "OutputContainer", stream: "AudioStream", codec: str):
        self.output, self.source = output, stream
        rate = (
            48_000 if codec == "libopus" else stream.codec_context.sample_rate
        )  # all that Opus knows besides fractions
        target: Any = output.add_stream(codec, rate=rate, layout=stream.codec_context.layout.name)
        self.target = target
        self.facts = {"codec": self.target.codec_context.codec.canonical_name, "how": "encoded"}

    def feed(self, packet: "Packet") -> None:
        self._encode(self.source.decode(packet))

    def finish(self) -> None:
        self._encode(self.source.decode(None))
        self.output.mux(self.target.encode(None))

    def _encode(self, frames: "Iterable[AudioFrame]") -> None:
        for frame in frames:
            self.output.mux(self.target.encode(frame))


def carry(output: "OutputContainer", stream: "AudioStream", codec: str) -> Sound:
    """`stream` in the container `output`; `codec` encodes what it does not take. Raises OutputError."""
    from av.error import FFmpegError

    name = stream.codec_context.codec.canonical_name
    try:
        return Sound(output, stream) if name in output.supported_codecs else EncodedSound(output, stream, codec)
    except (FFmpegError, ValueError) as error:
        raise OutputError(
            f"the sound ({name}) can neither be copied to {output.format.name} nor encoded by {codec}: {error}; "
            "--no-audio leaves it out"
        ) from None
