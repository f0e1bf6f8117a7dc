"""Every error the engine raises on purpose. A class's docstring is its message.

    TreadleError
    ├── FileError            what was read is not a model
    │   ├── NotJson · UnknownFormat · TooDeep · NotAModel · NotCanonical · FileMissing · ImportRefused
    ├── EditError            an edit or a save was refused
    │   ├── EditRefused · StaleRevision · EditConflict · WireRefused
    ├── ModelError           a model can't be used as asked
    │   ├── ModelNotFound · ModelExists · ModelInvalid · ModelArchived · VersionNotFound · VersionTooLow
    ├── RunError             something about a run
    │   ├── RunNotFound · InputRefused · OutputRefused · NotResumable · ProviderMissing
    │   ├── DecisionNotFound · DecisionClosed · OptionUnknown · NotAChooser · AccessRefused
    │   └── StepError        one attempt of a step failed
    │       ├── TetherFailed · StepTimedOut · StepCancelled · NotSerializable · CodeFailed · PortMissing
    │       └── TargetUnavailable
    ├── TetherError          a function can't be found or described
    │   └── TetherUnknown · TetherSourceBroken · TetherUndescribed
    ├── ExpressionError      CEL
    │   └── ExpressionInvalid · ExpressionFailed
    ├── StoreError           the store can't be used
    │   ├── StoreUnknown · StoreLocked · StoreCorrupted · StoreNewer · StoreOlder · StoreUnreachable · StoreConflict
    │   └── OrganizationForeign · QueryRefused · TransferRefused · JournalBroken
    └── LedgerTampered · SettingInvalid · TargetRefused · PoolFull

Facts are given by keyword and stay readable as attributes of `facts`.
"""

from __future__ import annotations

import string

_LONGEST_FACT = 500


class TreadleError(Exception):
    """Something went wrong."""

    def __init__(self, **facts: object) -> None:
        """Keep `facts` and build the message from the class's docstring."""
        self.facts = facts
        super().__init__(_sentence(self.__doc__ or "", facts))


def _sentence(template: str, facts: dict[str, object]) -> str:
    shown = {name: _shorten(str(value)) for name, value in facts.items()}
    return string.Formatter().vformat(" ".join(template.split()), (), shown)


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_FACT else text[:_LONGEST_FACT] + " …"


class FileError(TreadleError):
    """What was read is not a model."""


class FileMissing(FileError):
    """There is no file {path}. Check the path, or give the name of a model in the store."""


class NotJson(FileError):
    """{source} is not valid JSON: {reason}. Mend it there and try again."""


class TooDeep(FileError):
    """{source} nests deeper than {limit} levels. Flatten it, or move the data to a file that a step reads."""


class UnknownFormat(FileError):
    """{source} has the format {format}, but this program reads treadle/1. Check the file, or update treadle."""


class NotAModel(FileError):
    """{source} is not a model: {where}: {reason}."""


class NotCanonical(FileError):
    """A value can't be written as JSON: {reason}."""


class ImportRefused(FileError):
    """{source} can't be imported: {reason}. {mend}"""


class EditError(TreadleError):
    """An edit was refused."""


class EditRefused(EditError):
    """The edit {edit} can't be applied: {reason}."""


class WireRefused(EditError):
    """These ports can't be connected: {reason}."""


class StaleRevision(EditError):
    """It has moved on to revision {current}, this was based on {based_on}. Load it again, or merge."""


class EditConflict(EditError):
    """Both changed the same field: {fields}. Choose one of the two values and save again."""


class ModelError(TreadleError):
    """A model can't be used as asked."""


class ModelNotFound(ModelError):
    """No model is called {name}. 'treadle models' lists those in the store; a file needs its path."""


class ModelExists(ModelError):
    """A model called {name} exists already (names are compared without case). Choose another name."""


class ModelInvalid(ModelError):
    """The model can't be {verb}: {first}{more}"""


class ModelArchived(ModelError):
    """The model {name} is archived and stays so. Copy it to go on working."""


class VersionNotFound(ModelError):
    """The model {name} has no version {number}. It has: {known}."""


class VersionTooLow(ModelError):
    """{number} is too low: the change is {nature}, so the version must be at least {least}."""


class RunError(TreadleError):
    """Something is wrong with a run."""


class RunNotFound(RunError):
    """There is no run {run}. 'treadle runs' lists them."""


class InputRefused(RunError):
    """The input does not meet the contract: {where}: {reason}. Nothing was started."""


class OutputRefused(RunError):
    """The output does not meet the contract: {where}: {reason}."""


class NotResumable(RunError):
    """The run {run} can't be taken up: {reason}."""


class DecisionNotFound(RunError):
    """The run {run} has no decision {path!r}. 'treadle show {run}' lists what it waits for."""


class DecisionClosed(RunError):
    """{path} is decided already: {chosen}, by {by}."""


class OptionUnknown(RunError):
    """There is no option {option!r}. Choose one of: {known}."""


class NotAChooser(RunError):
    """{who} may not decide this. Those who may: {choosers}."""


class AccessRefused(RunError):
    """{reader} may not {verb} {what} of {owner} (relation: {relation}; rule: {rule}). {reason} {mend}"""


class ProviderMissing(RunError):
    """The step {step} is an agent task, but no provider for agents is configured. Replace it or disable it."""


class StepError(RunError):
    """A step failed."""


class TetherFailed(StepError):
    """{kind}: {reason}"""


class StepTimedOut(StepError):
    """It did not end within {timeout_s} s. Raise its timeout, or give it less to do."""


class StepCancelled(StepError):
    """It was cancelled."""


class NotSerializable(StepError):
    """It returned {kind} on port {port}, which can't be kept. Return JSON values, text, bytes or a table."""


class CodeFailed(StepError):
    """The code in the node failed: {reason}"""


class PortMissing(StepError):
    """It returned nothing for its port {port}; it gave: {given}."""


class TargetUnavailable(StepError):
    """{target} failed too often and is not called for now: {reason}. The next try is {when}."""


class TetherError(TreadleError):
    """A function can't be found or described."""


class TetherUnknown(TetherError):
    """No function is registered as {reference}.{hint}"""


class TetherSourceBroken(TetherError):
    """The functions in {source} can't be loaded: {reason}."""


class TetherUndescribed(TetherError):
    """The function {name} can't become a node: {reason}."""


class ExpressionError(TreadleError):
    """An expression is wrong."""


class ExpressionInvalid(ExpressionError):
    """The expression {text} does not compile: {reason}."""


class ExpressionFailed(ExpressionError):
    """The expression {text} failed: {reason}."""


class StoreError(TreadleError):
    """The store can't be used."""


class StoreUnknown(StoreError):
    """{url} is not a store. Use duckdb:///FILE, postgresql://…, neo4j://… or memory:."""


class StoreLocked(StoreError):
    """The store {path} is in use by another program{owner}. Close it, or choose another store with --store."""


class StoreCorrupted(StoreError):
    """The store {path} can't be read: {reason}. It was left as it is; restore a copy or choose another one."""


class StoreNewer(StoreError):
    """The store {path} was written by a newer treadle (schema {found}, this one knows {known}). Update treadle."""


class StoreOlder(StoreError):
    """The store {path} has an older schema ({found}, this program needs {known}). Run 'treadle migrate' first."""


class StoreUnreachable(StoreError):
    """The store {path} can't be used: {reason}."""


class OrganizationForeign(StoreError):
    """The model {name} belongs to the organization {theirs}, but the store is open for {ours}. Open it for {theirs}."""


class StoreConflict(StoreError):
    """Another change to the same records came first. Load them again and repeat."""


class QueryRefused(StoreError):
    """The query is refused: {reason}."""


class TransferRefused(StoreError):
    """Nothing was copied: {reason}."""


class JournalBroken(StoreError):
    """The journal {path} can't be used: {reason}. The run was stopped so that nothing is lost unseen."""


class LedgerTampered(TreadleError):
    """The ledger does not verify: {reason}."""


class SettingInvalid(TreadleError):
    """The setting {name} is wrong: {reason}."""


class TargetRefused(TreadleError):
    """The address {target} is refused: {reason}."""


class PoolFull(TreadleError):
    """The pool {pool} takes no task now: {reason}."""
