"""Opening a GGUF file with one-line errors."""

from gguf import GGUFReader


def read_gguf(path):
    try:
        return GGUFReader(path)
    except OSError:
        raise
    except Exception as error:  # the package raises whatever the malformed bytes happen to break
        raise ValueError(f"{path}: not a readable GGUF file ({error})") from error
