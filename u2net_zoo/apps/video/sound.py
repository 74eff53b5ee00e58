"""Sound on its way to another container: as it is where that takes its codec, otherwise encoded anew."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from ...errors import OutputError, VideoError, one_line

if TYPE_CHECKING:
    from av import AudioFrame, Packet
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

__all__ = ["Sound", "carry"]

# A layout per number of channels that AAC and Opus both have (RFC 7845, mapping family 1); others are mixed to stereo.
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


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
    """One audio stream, decoded and encoded by `codec`, at its own sample rate or the next that the codec has."""

    def __init__(self, output: "OutputContainer", stream: "AudioStream", codec: str):
        self.output, self.source = output, stream
        context = stream.codec_context
        layout = LAYOUTS.get(context.layout.nb_channels, "stereo")  # encoders refuse the unnamed layouts of AVI and WAV
        target: Any = output.add_stream(codec, rate=_rate(codec, context.sample_rate), layout=layout)
        self.target = target
        self.facts = {"codec": self.target.codec_context.codec.canonical_name, "how": "encoded"}

    def feed(self, packet: "Packet") -> None:
        from av.error import FFmpegError

        try:
            frames = self.source.decode(packet)
        except FFmpegError as error:
            raise VideoError(f"the sound cannot be decoded, {one_line(error)}; --no-audio leaves it out") from None
        self._encode(frames)

    def finish(self) -> None:
        self._encode(self.source.decode(None))
        self.output.mux(self.target.encode(None))

    def _encode(self, frames: "Iterable[AudioFrame]") -> None:
        for frame in frames:
            self.output.mux(self.target.encode(frame))


def _rate(codec: str, wanted: int) -> int:
    """The lowest sample rate of the encoder that is at least `wanted`, or its highest."""
    from av.codec.codec import Codec

    rates = Codec(codec, "w").audio_rates or [wanted]
    return min((rate for rate in rates if rate >= wanted), default=max(rates))


def carry(output: "OutputContainer", stream: "AudioStream", copies: Collection[str], codec: str) -> Sound:
    """`stream` in the container `output`: copied when its codec is one of `copies`, otherwise encoded by `codec`.

    Raises:
        OutputError: neither can be done.
    """
    from av.error import FFmpegError

    name = stream.codec_context.codec.canonical_name
    try:
        return Sound(output, stream) if name in copies else EncodedSound(output, stream, codec)
    except (FFmpegError, ValueError) as error:
        raise OutputError(
            f"the sound ({name}) can neither be copied to {output.format.name} nor encoded by {codec}: {error}; "
            "--no-audio leaves it out"
        ) from None
