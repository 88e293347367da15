"""How files come from the Hugging Face Hub: one object through which every download goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from merclip._version import __version__
from merclip.errors import InputError, ModelNotFoundError

_TOKEN = "run 'hf auth login', set HF_TOKEN, or give the token"


@dataclass(frozen=True)
class HubAccess:
    """How files are fetched: every download goes through one of these.

    The parameters are those of huggingface_hub, which also honours its own
    environment variables (HF_HOME, HF_TOKEN, HF_HUB_OFFLINE and others).
    """

    revision: str | None = None
    cache_dir: str | Path | None = None
    token: str | bool | None = None
    local_files_only: bool = False
    force_download: bool = False

    def __post_init__(self) -> None:
        if self.local_files_only and self.force_download:
            raise InputError("local_files_only=True and force_download=True exclude each other.")

    def file(self, repo: str, filename: str, revision: str | None = None) -> Path:
        """Return the local path of one file, downloaded if need be.

        Raises
        ------
        ModelNotFoundError
            The Hub cannot be reached, or has no such repository or file.
        """
        from huggingface_hub import hf_hub_download

        try:
            path = hf_hub_download(
                repo,
                filename,
                revision=revision or self.revision,
                cache_dir=self.cache_dir,
                token=self.token,
                local_files_only=self.local_files_only,
                force_download=self.force_download,
                library_name="merclip",
                library_version=__version__,
            )
        except (OSError, ValueError, network_error()) as error:
            asked = revision or self.revision or "main"
            raise ModelNotFoundError(_explained(error, repo, filename, asked)) from error
        return Path(path)

    def spare_file(self, repo: str, filename: str, commit: str) -> Path | None:
        """Return the local path of a file that is not needed; None where it is not to be had.

        huggingface_hub waits half a minute for a Hub that cannot be reached; this asks once.
        """
        from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
        from huggingface_hub.errors import EntryNotFoundError

        found = try_to_load_from_cache(repo, filename, self.cache_dir, commit)
        if found is not None and not (isinstance(found, str) and self.force_download):
            return Path(found) if isinstance(found, str) else None
        if self.local_files_only:
            return None
        try:
            get_hf_file_metadata(
                hf_hub_url(repo, filename, revision=commit),
                self.token,
                library_name="merclip",
                library_version=__version__,
            )
        except EntryNotFoundError:
            pass  # asked once more, which the cache remembers
        except (OSError, ValueError, network_error()):
            return None
        try:
            return self.file(repo, filename, commit)
        except ModelNotFoundError:
            return None

    def lacks(self, repo: str, filename: str, commit: str) -> bool:
        """Return whether the cache knows that a commit has no such file."""
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(repo, filename, self.cache_dir, commit)
        return found is not None and not isinstance(found, str)

    def names(self, repo: str, revision: str | None) -> list[str]:
        """Return the names of all files of a repository; none if the Hub cannot be asked."""
        from huggingface_hub import HfApi

        if self.local_files_only:
            return []
        api = HfApi(token=self.token, library_name="merclip", library_version=__version__)
        try:
            info = api.model_info(repo, revision=revision or self.revision)
        except (OSError, ValueError, network_error()):
            return []
        return [sibling.rfilename for sibling in info.siblings or []]


def is_absence(error: ModelNotFoundError) -> bool:
    """Return whether the model, or the cache where it alone can be asked, lacks the file."""
    from huggingface_hub.errors import EntryNotFoundError

    return isinstance(error.__cause__, EntryNotFoundError)


def is_unreachable(error: ModelNotFoundError) -> bool:
    """Return whether the Hub could not be asked for a file that the cache lacks."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    cause = error.__cause__
    return isinstance(cause, LocalEntryNotFoundError) and not _is_offline(cause)


def network_error() -> type[Exception]:
    """Return the base of errors that huggingface_hub hands on from its HTTP library."""
    from huggingface_hub.errors import HfHubHTTPError

    # It has changed that library before.
    found = (kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")
    return next(found, HfHubHTTPError)


def first_lines(error: BaseException | None) -> str:
    """Return the first two lines of an error's text, in one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__


def _explained(error: BaseException, repo: str, filename: str, revision: str) -> str:
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    what = f"{filename} of {repo!r}"
    if isinstance(error, LocalEntryNotFoundError):
        return _not_cached(what, error)
    if isinstance(error, HFValidationError):
        return f"{repo!r} is no name of a model: {error}"
    if isinstance(error, LocalTokenNotFoundError):
        return f"This machine keeps no token: {_TOKEN}."
    if isinstance(error, OfflineModeIsEnabled):
        return f"{what} cannot be downloaded anew while HF_HUB_OFFLINE is set."
    if isinstance(error, HfHubHTTPError):
        return _refused(error, repo, filename, revision)
    if isinstance(error, ValueError) and error.__cause__ is not None:  # with force_download=True
        return _explained(error.__cause__, repo, filename, revision)
    return f"{what} could not be fetched and stored ({first_lines(error)}); try again."


def _refused(error: BaseException, repo: str, filename: str, revision: str) -> str:
    """Return what the Hub lacks, or does not give, as far as it tells."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return (
            f"{repo!r} on the Hub is gated: ask for access on its page there, then {_TOKEN}, which "
            "has to be that of your account."
        )
    if isinstance(error, RepositoryNotFoundError):
        # The Hub does not tell the two apart.
        return (
            f"The Hub has no model {repo!r}, or it is private and needs a token: check the name, "
            f"or {_TOKEN}."
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{repo!r} on the Hub has no revision {revision!r}: check the branch, tag or commit."
    if isinstance(error, RemoteEntryNotFoundError):
        return f"{repo!r} on the Hub has no {filename}."
    return (
        f"The Hub gives no {filename} of {repo!r} ({first_lines(error)}): try again, or check your "
        "token."
    )


def _not_cached(what: str, error: BaseException) -> str:
    why = "is not asked (offline)"
    if not _is_offline(error):
        why = f"cannot be reached ({first_lines(error.__cause__)})"
    return (
        f"{what} is not in the cache, and the Hub {why}; connect to the network once, or copy the "
        "model's directory here and give its path. 'merclip download MODEL --to DIR' writes such a "
        "directory on a machine that has a network."
    )


def _is_offline(error: BaseException) -> bool:
    from huggingface_hub.errors import OfflineModeIsEnabled

    return isinstance(error.__cause__, (OfflineModeIsEnabled, type(None)))
