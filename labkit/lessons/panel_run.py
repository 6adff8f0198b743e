"""The runs that a panel was asked for: found or trained in one thread, steered from outside, told to every panel.

A pass can be left after any update with everything on the disk, and gone on with. Pause, a step to the next
measurement, stopping one run of several and a changed rate are that: the pass ends, what was asked is done, and the
next pass begins where it ended. So a pause holds neither the base nor the turn to train.
"""

import contextvars
import math
import threading
import time
from contextlib import closing
from types import SimpleNamespace

from labkit.design.adapter_start import beginning
from labkit.design.config import RunConfig
from labkit.engine.turns import turn
from labkit.errors import LabError
from labkit.judge.diagnose import diagnose
from labkit.store.events import Step, Validation
from labkit.text import counted, rate_text
from labkit.view.frontend import frontend, say
from labkit.view.live import live
from labkit.view.race_data import MOST, ORIGINS
from labkit.view.race_view import RaceView

_unfinished: list["PanelRun"] = []                            # of this kernel, in the order they began
_ending = threading.RLock()


def current_run() -> "PanelRun | None":
    """Return the newest PanelRun of this kernel that has not ended, or None."""
    return _unfinished[-1] if _unfinished else None


class PanelRun:
    """Find or train the designs of the panel `owner`; tell all panels that watch, of which the last sees it grow.

    A panel whose cell is executed again is another panel: it watches what goes on, and can steer it too.
    `race` is the RaceView of all runs, None where nobody looks; `result` is the Run of the owner's design as far as it
    is. `going` holds the runs that are still to train, in the order in which they do.
    """

    def __init__(self, owner, *, new_seed=False):
        """Take over the owner's designs; new_seed asks for the next seed that the store has no run of."""
        self.owner, self.place, self.new_seed = owner, owner.place, new_seed
        self.design, self.designs, self.label = owner.design, owner.designs, owner.label
        self.watchers, self.stage = [owner], ""
        self.race, self.error = None, None
        self.builders: dict = {}                              # of all runs, by run id
        self.beside: set[str] = set()                         # ids of pinned runs, which are shown as well
        self.going: dict[str, RunConfig] = {}
        self.is_from_store = self.is_over = self.is_paused = False
        self._order, self._is_step, self._is_measured = "", False, False
        self._dropped: list[str] = []
        self._forks: list[tuple[str, float]] = []
        self._wake, self._thread = threading.Event(), None
        self._own = None                                      # the id of the owner's own design
        _unfinished.append(self)

    def __str__(self):
        """Name the runs as others that wait for them do."""
        rate = rate_text(self.design.learning_rate)
        what = f"the run at learning rate {rate}" if len(self.designs) == 1 else f"a race of {len(self.designs)} runs"
        return f"{what} on {self.place[1]} that a panel trains"

    @property
    def results(self) -> list:
        """Return the runs that were asked for, and their forks, as far as they have been measured."""
        runs = [builder.build() for name, builder in self.builders.items() if name not in self.beside]
        return [run for run in runs if run.validations or run.stopped]

    @property
    def result(self):
        """Return the run of the owner's design as far as it is, else the first; None before its first measurement."""
        runs = self.results
        return next((run for run in runs if run.run_id == self._own), runs[0] if runs else None)

    # -- what a person asks meanwhile

    def stop(self) -> None:
        """End after the update that is under way, or waiting for the turn, or a pause."""
        self._ask("stop")

    def pause(self) -> None:
        """Rest after the update that is under way, until `go_on`."""
        self._ask("pause")

    def go_on(self) -> None:
        """Go on after a pause."""
        self._ask("" if self._order == "pause" else self._order)

    def step(self) -> None:
        """Go on to the next measurement, and rest there."""
        self._is_step, self._is_measured = True, False
        self.go_on()

    def stop_one(self, run_id: str) -> None:
        """End one run after the update under way, while the others go on."""
        self._dropped.append(run_id)
        self._ask(self._order or "steer")

    def fork(self, run_id: str, rate: float) -> None:
        """Have a copy of a run go on from where it is at another rate; it trains first, then the others go on."""
        if len(self.builders) >= MOST:
            raise LabError(f"{MOST} runs are shown, and more are not told apart: stop this race before another fork.")
        self._forks.append((run_id, rate))
        self._ask(self._order or "steer")

    def _ask(self, order):
        self._order = order
        self._wake.set()

    # -- where it is told

    def start(self) -> None:
        """Do the work in a thread of its own, whose output belongs to the cell that started it."""
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self.work,), name="labkit-train-panel", daemon=True)
        self._thread.start()

    def wait(self, timeout=None) -> None:
        """Wait for the end."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def watch(self, panel) -> bool:
        """Tell all this to one more panel from now on; False if it has ended."""
        with _ending:
            if not self.is_over:
                for other in self.watchers:
                    other._view.show_stage("these runs are shown in the panel that was opened last")
                self.watchers.append(panel)
            return not self.is_over

    @property
    def view(self):
        """Return the view that sees the runs grow."""
        return self.watchers[-1]._view

    def show_stage(self, words) -> None:
        """Show what is being done, and keep it for a panel that is opened meanwhile."""
        self.stage = words
        self.view.show_stage(words)

    # -- the work

    def work(self) -> None:
        """Load what is needed, find the runs or train them; tell the end to all who watch."""
        try:
            self.owner.load(self.show_stage)
            self._find()
            if frontend() != "headless":
                self.race = race_of(self.builders, self.label, "live" if self.going else None)
                self.view.show_race(self.race)
            self._train()
        except BaseException as error:                        # an interrupted cell too: nothing may be lost
            self.error = error
        finally:
            with _ending:
                self.is_over = True
                _unfinished.remove(self)
                self.builders.update({name: kept(builder.build()) for name, builder in self.builders.items()})
                if self.race is not None:
                    self.race.end(origins(self.builders))
                for panel in self.watchers:
                    panel.show_end(self)

    def _find(self):
        """Name the runs; keep those that are known, and what the others told until they were stopped."""
        lab = self.owner.lab
        plan = lab.plan(self.designs)
        while self.new_seed and any(self.owner.known(name) for name in plan):
            self.design = self.design.replace(seed=self.design.seed + 1)
            self.designs = [design.replace(seed=self.design.seed) for design in self.designs]
            plan = lab.plan(self.designs)
        [self._own] = lab.plan([self.design])
        found = {name: run for name in plan if (run := self.owner.known(name)) is not None}
        self.going = {name: config for name, config in plan.items() if name not in found}
        self.is_from_store = not self.going
        begun = lab.begin(self.going)
        for name in plan:
            self.builders[name] = kept(found[name]) if name in found else begun[name]
        pins = [run for run in self.owner.shelf.pins if run.run_id not in plan][:MOST - len(plan)]
        self.beside = {run.run_id for run in pins}
        self.builders |= {run.run_id: kept(run) for run in pins}

    def _train(self):
        while self.going and self._order != "stop":
            if self._order == "pause":
                self._rest()
                continue
            if self._order == "steer":
                self._order = ""
            self._steer()
            with turn(str(self), say=self.show_stage, stop=lambda: self._order in ("stop", "pause")) as is_our_turn:
                if is_our_turn and self.going:
                    self._pass()

    def _rest(self):
        """Wait with everything on the disk, and the base free for others."""
        self.is_paused = True
        self._tell_rest()
        while self._order == "pause" and self.going:
            self._wake.wait()
            self._wake.clear()
            if self._steer() and self.going:                  # none is left where each was ended by itself
                self._tell_rest()
        self.is_paused = False
        self.view.show_steering(self)

    def _tell_rest(self):
        if self.race is not None:
            self.race.flush()
        done = max(self.builders[name].last_step for name in self.going)
        self.show_stage(f"paused after {counted(done, 'update')}: all is kept on the disk, and the base is free")
        self.view.show_steering(self)

    def _pass(self):
        """Train what is still to train until it ends or a person asks for something; events go to all who watch."""
        lab, started = self.owner.lab, time.monotonic()
        names = list(self.going)
        self.builders |= {name: builder for name, builder in lab.begin(self.going).items()
                          if builder.last_step or not self.builders[name].last_step}
        done = max(self.builders[name].last_step for name in names)
        self._is_measured = False
        first = beginning(*(config.init_lora_weights for config in self.going.values()))
        self.show_stage(f"going on from update {done}" if done else f"measuring {first}")
        self.view.show_steering(self)
        events = lab.sweep(self.going, monitor=lab.monitor(pictures=self.owner.pictures), stop=self._has_to_end,
                           meta={"made_by": "panel"}, tell=say)
        builders = {name: self.builders[name] for name in names}
        if frontend() == "colab":                             # no thread can update the panel's own widget there
            events = live(events, builders, label=self.label)
        with closing(events):
            for event in events:
                self._take(event, started)
        if self._is_step and not self._order:
            self._order = "pause"
        self._is_step = False
        self.going = {name: config for name, config in self.going.items()
                      if not self.builders[name].stopped or self.builders[name].stopped.reason == "stopped"}
        if not done and not self.going and len(names) == len(self.designs):
            self.owner.pace.learn([self.builders[name].config for name in names], time.monotonic() - started)

    def _has_to_end(self):
        return bool(self._order) or (self._is_step and self._is_measured)

    def _take(self, event, started):
        builder = self.builders[event.run_id]
        if frontend() != "colab":                             # there `live` has added it
            builder.add(event)
        self._is_measured |= isinstance(event, Validation)
        if self.race is not None:
            self.race.append([event])
        if isinstance(event, Step):
            first = len(self.going) > 1 and builder.config.parent and event.run_id == next(iter(self.going))
            aside = ", the fork first, then the others" if first else ""
            self.view.show_progress(event.global_step, builder.config.max_train_steps,
                                    time.monotonic() - started, aside)

    def _steer(self) -> bool:
        """End single runs and begin forks, as was asked; tell whether anything was."""
        dropped, forks = self._dropped[:], self._forks[:]
        del self._dropped[:len(dropped)], self._forks[:len(forks)]
        for name in dropped:
            self.going.pop(name, None)
        for name, rate in forks:
            try:
                self._begin_fork(name, rate)
            except LabError as error:
                self.view.show_error(error)
        return bool(dropped or forks)

    def _begin_fork(self, parent, rate):
        """Have a fork go on from the parent's last checkpoint: told as the parent's curve up to there."""
        lab = self.owner.lab
        folder = lab.store.run(parent)
        steps = folder.checkpoints() if parent in self.going else []
        if not steps:
            raise LabError("This run has ended or not begun: only one that goes on can be given another rate.")
        config = self.going[parent]
        edits = [edit for edit in config.lr_edits if edit[0] < steps[-1]]
        changed = config.replace(lr_edits=[*edits, (steps[-1], rate)], parent=parent)
        [(name, config)] = lab.plan([changed]).items()
        if name in self.builders:
            return
        builder = folder.builder()
        builder.cut(steps[-1])
        builder.run_id, builder.config, builder.origin = name, config, "live"
        self.builders[name] = builder
        self.going = {name: config} | self.going
        if self.race is not None:
            self.race.fork(builder.build(), parent, steps[-1])


def kept(run):
    """Wrap a finished Run so that it stands for its RunBuilder, the form in which a RaceView takes runs."""
    return SimpleNamespace(build=lambda: run)


def origins(builders) -> str:
    """Say where some runs come from."""
    return ", ".join(dict.fromkeys(ORIGINS[builder.build().origin] for builder in builders.values()))


def race_of(builders, label, origin=None) -> RaceView:
    """Return the RaceView of runs by run id, judged as they are; origin: None says where they come from."""
    race = RaceView.live(builders, label, origin or origins(builders))
    race.flush()
    return race


def verdict_of(run, siblings):
    """Return the verdict of a run among others of its panel, or None before its first measurement."""
    if run is None or "validation" not in run.validations:
        return None
    return diagnose(run, [other for other in siblings if other.run_id != run.run_id])


class Pace:
    """Know how long runs take here: a guess before the first, then what was measured."""

    def __init__(self):
        """Begin with the pace of two CPU cores."""
        self.factor, self.is_measured = 1.0, False

    def guess(self, configs) -> float:
        """Return the seconds of runs in shared passes: 4 a run for its measurements on two CPU cores, and batches."""
        passes = [config.max_train_steps * config.gradient_accumulation_steps for config in configs]
        rows = sum(count * config.rows for count, config in zip(passes, configs, strict=True))
        return self.factor * (4 * len(configs) + 0.03 * max(passes, default=0) + 0.014 * rows)

    def learn(self, configs, seconds) -> None:
        """Correct the guess by the seconds that some runs took."""
        if math.isfinite(guess := self.guess(configs)) and guess > 0:
            self.factor *= seconds / guess
            self.is_measured = True
