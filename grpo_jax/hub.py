"""The Hugging Face Hub: names of repositories, and the upload of a directory to a new one."""

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from grpo_jax.config import ConfigError, one_line

SECONDS = 10.0  # for the Hub to answer whether a repository exists

# Why the Hub refuses a request, by the status of its answer.
REFUSALS: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "the Hub does not accept the token; make another at https://huggingface.co/settings/tokens",
    HTTPStatus.FORBIDDEN: "the token may not write there; name an owner for whom it may, or use another token",
    HTTPStatus.CONFLICT: "a repository of this name exists already; name another",
}


class PushFailed(Exception):
    """A directory was not uploaded, or not all of it. The text says why, as a clause."""


def check_name(name: str) -> None:
    """Raise ConfigError if this is not the name of a repository, owner/name. It begins with the name."""
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # it is public, but not marked so

    try:
        validate_repo_id(name)
        _owner, _name = name.split("/")
    except ValueError as error:
        raise ConfigError(
            f"{name}: is not the name of a repository; write owner/name, with letters, digits, '-', '_' and '.'."
        ) from error


def check_new(name: str) -> None:
    """Check what can be known before an upload: the name, the token, and that there is no such repository yet.

    Raises:
      ConfigError: if one of these is wrong, or if the Hub does not answer. It begins with the name.
    """
    from huggingface_hub import HfApi, get_token

    check_name(name)
    try:
        if get_token() is None:
            raise ConfigError(f"{name}: there is no token; set HF_TOKEN to one that may write, or run `hf auth login`.")
        HfApi().model_info(name, timeout=SECONDS)
    except ConfigError:
        raise
    except Exception as error:  # of the HTTP client, which depends on the version of the Hub's library
        status = _status(error)
        if status == HTTPStatus.NOT_FOUND:
            return
        remedy = "" if status else "; connect, or upload it later"
        raise ConfigError(f"{name}: {_reason(error, 'the Hub cannot be reached')}{remedy}.") from error
    raise ConfigError(f"{name}: {REFUSALS[HTTPStatus.CONFLICT]}.")


def upload(directory: Path, name: str, *, public: bool, message: str) -> str:
    """Make a repository, upload a directory to it, and return its address. The directory stays as it is.

    Args:
      name: owner/name; there must be no such repository.
      public: whether everybody may read it, or its owner alone.
      message: of the commit.

    Raises:
      PushFailed: for any reason.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = api.create_repo(name, private=not public)
        api.upload_folder(repo_id=name, folder_path=directory, commit_message=message)
    except Exception as error:  # of the HTTP client, the storage behind the Hub, or the check of the model card
        raise PushFailed(_reason(error, "the upload has failed")) from error
    return str(address)


def clause(error: Exception) -> str:
    """Return an error's message as part of a sentence."""
    return one_line(error)[:300].rstrip(".")


def _reason(error: Exception, unanswered: str) -> str:
    """Return why a request failed, as a clause that begins with `unanswered` if the Hub did not answer it."""
    status = _status(error)
    return REFUSALS.get(status) or f"{'the Hub refuses it' if status else unanswered} ({clause(error)})"


def _status(error: Exception) -> int:
    """Return the status of the answer that an error is about; 0 if there was no answer."""
    from huggingface_hub.errors import HfHubHTTPError

    response = error.response if isinstance(error, HfHubHTTPError) else None
    return 0 if response is None else response.status_code  # some errors of this kind come before any answer
