"""Sending a checkpoint to the Hub."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from merclip._version import __version__
from merclip.errors import InputError, UploadError
from merclip.hub.access import first_lines, network_error

MESSAGE = "Upload a merclip checkpoint"


def push_directory(
    write: Callable[[Path], object],
    repo: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
) -> str:
    """Write a directory, and send it to a repository that is made if need be.

    Parameters
    ----------
    write : callable
        Writes the files into an empty directory.
    repo : str
        "org/name", or "name" for the user whose token it is.
    private : bool, optional
        For a new repository; by default what its owner has set.
    token : str or bool, optional
        By default that of this machine.
    revision : str, optional
        Branch, made if need be; by default "main".
    create_pr : bool
        Open a pull request in place of a commit.
    commit_message : str, optional

    Returns
    -------
    str
        Address of the commit, or of the pull request.

    Raises
    ------
    InputError
        The name is none, or a pull request is asked for beside a branch.
    UploadError
        The Hub refuses it or cannot be reached; the message says what to do.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    if create_pr and revision not in (None, "main"):
        raise InputError("A pull request goes to the main branch: leave revision out.")
    api = HfApi(token=token, library_name="merclip", library_version=__version__)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        try:
            name = api.create_repo(repo, private=private, exist_ok=True).repo_id
            if revision is not None and not revision.startswith("refs/pr/"):
                api.create_branch(name, branch=revision, exist_ok=True)
            commit = api.upload_folder(
                repo_id=name,
                folder_path=folder,
                revision=revision,
                create_pr=create_pr,
                commit_message=commit_message or MESSAGE,
            )
        except HFValidationError as error:
            raise InputError(f"{repo!r} is no name of a repository: {error}") from error
        except (OSError, ValueError, RuntimeError, network_error()) as error:
            raise UploadError(f"{repo!r} was not sent: {_reason(error)}") from error
    return str(commit.pr_url if create_pr else commit.commit_url)


def _reason(error: BaseException) -> str:
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    said = first_lines(error)
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it, or save the model with save_pretrained."
    if isinstance(error, LocalTokenNotFoundError):
        return "this machine keeps no token: run 'hf auth login', set HF_TOKEN, or give token=."
    if isinstance(error, HfHubHTTPError):
        return f"{_advice(error.response.status_code)} ({said})"
    if isinstance(error, RuntimeError) and error.__cause__ is not None:  # of one large file
        return _reason(error.__cause__)
    if isinstance(error, network_error()):
        return f"the Hub cannot be reached ({said}); try again, what has arrived is not sent twice."
    return said


def _advice(status: int) -> str:
    if status == 401:
        return (
            "the Hub does not know who you are: give token= with a token that may write, run "
            "'hf auth login', or set HF_TOKEN."
        )
    if status == 403:
        return (
            "this token has no write access there: take one that has, another name, or "
            "create_pr=True to propose it to the owner."
        )
    if status >= 500:
        return "the Hub has a fault of its own; try again later."
    return "the Hub refuses it."
