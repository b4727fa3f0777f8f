"""The login of a program without a browser (RFC 8628): a secret it polls with, and a short code a person confirms."""

import base64
import hashlib
import re
from typing import Final

import msgspec

_DEVICE_ENTROPY_BYTES: Final = 32
_USER_ENTROPY_BYTES: Final = 8
ENTROPY_BYTES: Final = _DEVICE_ENTROPY_BYTES + _USER_ENTROPY_BYTES
# Long enough to sign in on the way, by a mailed link if need be.
DEVICE_LOGIN_S: Final = 900
# How often a program asks; five seconds is what RFC 8628 says when nothing is said.
POLL_INTERVAL_S: Final = 5
DEVICE_NAME_CHARACTERS_MAX: Final = 100
# No vowels, so that no code is a word, and no letter that is read as another (RFC 8628, 6.1): 34 bits.
_ALPHABET: Final = "BCDFGHJKLMNPQRSTVWXZ"
_USER_CODE_CHARACTERS: Final = 8
_HALF: Final = _USER_CODE_CHARACTERS // 2
_USER_CODE: Final = re.compile(rf"[{_ALPHABET}]{{{_USER_CODE_CHARACTERS}}}")
_DEVICE_CODE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_FILLING: Final = re.compile(r"[\s-]+")


class DeviceCodes(msgspec.Struct, frozen=True, kw_only=True):
    """Both codes of one login. `device_code` stays with the program; `user_code` is shown, like `WDJB-MJHT`."""

    device_code: str
    user_code: str

    def __repr__(self) -> str:
        """Show nothing that lets anybody in: a repr ends up in logs."""
        return "DeviceCodes()"


def mint_codes(entropy: bytes) -> DeviceCodes:
    """Return the codes that `entropy`, ENTROPY_BYTES random bytes, stands for."""
    assert len(entropy) == ENTROPY_BYTES
    device, user = entropy[:_DEVICE_ENTROPY_BYTES], entropy[_DEVICE_ENTROPY_BYTES:]
    number, letters = int.from_bytes(user, "big"), ""
    for _ in range(_USER_CODE_CHARACTERS):
        number, letter = divmod(number, len(_ALPHABET))
        letters += _ALPHABET[letter]
    return DeviceCodes(
        device_code=base64.urlsafe_b64encode(device).rstrip(b"=").decode("ascii"),
        user_code=f"{letters[:_HALF]}-{letters[_HALF:]}",
    )


def hash_of_device_code(device_code: str) -> bytes | None:
    """Return what is stored of a device code; None for a text that is none."""
    if _DEVICE_CODE.fullmatch(device_code) is None:
        return None
    return hashlib.sha256(device_code.encode("ascii")).digest()


def read_user_code(text: str) -> str | None:
    """Return the code a person typed, in whatever case and with whatever between; None for no code."""
    letters = _FILLING.sub("", text).upper()
    if _USER_CODE.fullmatch(letters) is None:
        return None
    return f"{letters[:_HALF]}-{letters[_HALF:]}"
