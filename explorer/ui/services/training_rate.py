"""How fast this process trains: what a measurement will cost follows from it."""

from explorer.machine import cores
from explorer.runs import speed as machine_speed
from explorer.training import choose_device, training_speed
from explorer.ui.services.caches import CACHES, LruCache
from explorer.ui.services.inference import INFERENCE_SLOTS
from explorer.ui.services.process_tuning import threads

FORWARD = 3.5  # times as fast as a training, which also goes back: passes of large batches on all cores


def macs_a_second() -> float:
    """Multiply-accumulates of the forward pass a second, of a training in this process. They follow from the speed that
    was measured last; where none was, nobody waits seconds for it, and a shorter measurement serves."""
    known = machine_speed.last_measured()
    if known is None:
        return _MEASURED.get("here", _measured)
    return known.macs_a_second() * (threads() / cores() if choose_device().type == "cpu" else 1.0)


def _measured() -> float:
    with INFERENCE_SLOTS:
        return training_speed()


_MEASURED: LruCache[float] = LruCache(CACHES["ui.services.training_rate.measured"])
