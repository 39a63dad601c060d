"""`python -m segstill`, and what torchrun and accelerate start on every process."""

from .cli import main

if __name__ == "__main__":
    main()
