"""Names of files inside of source code in other languages."""

__all__ = ["in_comment", "utf16_escapes"]


def in_comment(text: str) -> str:
    """One line of text, whatever a file may be called: a line feed would end the comment."""
    return "".join(map(utf16_escapes, text))


def utf16_escapes(char: str) -> str:
    """A character that can be seen as it is; others as `\\uXXXX`, twice where UTF-16 has two words for them."""
    if char.isprintable():
        return char
    words = char.encode("utf-16-be", "surrogatepass")  # a name that is not UTF-8 has halves of pairs
    return "".join(f"\\u{words[n : n + 2].hex()}" for n in range(0, len(words), 2))
