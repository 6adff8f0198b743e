"""Every figure: `plot_x(history, ax=None)` gives Axes, a composite gives a Figure; both show themselves in a notebook.

Nothing here shows, saves or needs torch. Curves are in `curves.py`, pictures in `pictures.py`, the common look in `style.py`.
"""

from labkit.view.curves import (
    plot_curves,
    plot_loss_by_timestep,
    plot_schedules,
    plot_step_loss,
    plot_u_curve,
    plot_validation,
)
from labkit.view.pictures import plot_comparison, plot_race, plot_samples

__all__ = [name for name in dir() if name.startswith("plot_")]
