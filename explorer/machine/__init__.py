"""The one room that knows the operating system: locks, processes, memory, cores and file moves.

Everything here has a portable path, for Windows, and may have another for what Linux or macOS can do beyond it.
`EXPLORER_PORTABLE=1` takes the portable path on any system; all processes of one data folder have to take the same one.
`tests/test_any_system.py` names what no other room may use.
"""

from explorer.machine.cores import core_limit, cores, idle_cores
from explorer.machine.processes import NICE, give_way, launched
from explorer.machine.system import is_portable
