"""`python -m emjax`: the command, as `python -m emjax.main` is."""

from emjax.main import run

if __name__ == "__main__":
    run()
