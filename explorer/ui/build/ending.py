"""The end of Build & train: the finding of a training, and the next question."""

from functools import lru_cache

from explorer import recordings, runs
from explorer.runs.log import parsed
from explorer.ui import client, navigation, network_registry
from explorer.ui.build_state import RECORDINGS, BuildState
from explorer.ui.services.caches import CACHES
from explorer.ui.services.explore_state import AppState


def show_ending(state: BuildState) -> None:
    """Of the run that is looked at, once it has ended; of the form that of the user's last run or, before any, of the
    recorded training."""
    earlier = [] if state.replay else runs.list_runs(client.owner())[: network_registry.RECENT_RUNS]
    shown = list(filter(None, [runs.find(state.run)])) if state.run else earlier
    for run in shown:
        status = runs.status(run)
        if status.state == "finished" and status.log.end:
            names = [f"run-{run.id}-{network['name']}" for network in status.log.end["networks"]]
            if names := list(filter(network_registry.is_network, names)):  # their files may be damaged
                _show(runs.finding(status.log), names, "" if state.run else "Your last training: ")
                return
    if not state.run:
        _show_recorded(state.replay or next(iter(RECORDINGS)))


def _show_recorded(name: str) -> None:
    try:
        _show(*_recorded(name), "The recorded training: ")
    except ValueError:  # Explore says what is damaged
        return


@lru_cache(CACHES["ui.build.ending._recorded"].entries)
def _recorded(name: str) -> tuple[str | None, list[str]]:
    recording = recordings.load(name)
    return runs.finding(parsed(recording.metrics)), [network["shipped"] for network in recording.facts["networks"]]


def _show(words: str | None, names: list[str], which: str) -> None:
    finding = f"{which}{words}" if words else ""
    if len(names) > 1:
        query = {"networks": ",".join(names)}
        navigation.ending(finding, "compare", "On which images do they differ?", query)
    else:
        query = AppState(first=names[0], second=None, picture=network_registry.sample_for(names[0])).to_query()
        navigation.ending(finding, "explore", "Where does it look?", query)
