"""Names with characters that mean something in an address: they are written as in URLs, by a percent sign and a code.

`a%3Ab.h5` is the file `a:b.h5`. Only what has a meaning in an address is written so: any other percent sign is part of
a name, so that `a%20b.h5` is the file of exactly that name. In URLs (`gs://`, `http://`) nothing is changed here, as
they have percent codes of their own.
"""

from __future__ import annotations

import os
import re

from emjax.errors import InputError

_CODES = {char: f"%{ord(char):02X}" for char in ":;|?*[]&=%\n"}
_CODE = re.compile("|".join(_CODES.values()), re.IGNORECASE)
_PLAIN = {code: char for char, code in _CODES.items()}
# For messages and docs.
SHOWN = ": ; | ? * [ ] & = % are written as " + " ".join(_CODES[char] for char in ":;|?*[]&=%")


def unescape(text: str) -> str:
    """Returns the name that a part of an address stands for."""
    return _CODE.sub(lambda code: _PLAIN[code[0].upper()], text)


def unescape_path(text: str) -> str:
    """Returns the path on this machine that the path of an address stands for.

    Raises:
        InputError: if there is also a file or folder whose name is exactly what is written.
    """
    if not _CODE.search(text):
        return text
    written = ""
    for part in re.split(r"(?<=/)", text):
        written += part
        code = _CODE.search(part)
        if code and os.path.lexists(os.path.expanduser(written)):
            raise InputError(
                f"{text}: {code[0]} stands for '{unescape(code[0])}' in an address, but there is a file or folder "
                f"{written}: write %25 for each % of its name, or rename it"
            )
    return unescape(text)


def escape(text: str, chars: str = ":;|[]=\n") -> str:
    """Writes a name so that `unescape` returns it.

    Args:
        text: the name.
        chars: those that mean something where the name stands.
    """
    # First the percent signs that would be read as codes.
    text = _CODE.sub(lambda code: f"%25{code[0][1:]}", text)
    return "".join(_CODES[char] if char in chars else char for char in text)
