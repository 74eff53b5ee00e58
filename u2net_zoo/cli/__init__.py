"""`u2zoo`: one small module per command, each a thin face of the Python functions."""

__all__ = ["main"]


def main() -> None:
    """Entry point of `u2zoo`; see `main.main`.

    Imported when called: worker processes import the console script again, and with it this package.
    """
    from .main import main as run

    globals()["main"] = run  # the module of that name has taken its place
    run()
