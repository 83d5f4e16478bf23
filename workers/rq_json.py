"""RQ without pickle, and without names from Redis that choose what a worker runs.

Whoever can write to Redis writes jobs. RQ would unpickle them, import the function that they name, run the callbacks that
they name, and call the URLs that they name. Here a job is JSON, and it runs only if it names one of our own job functions.
Importing this module takes pickle out of the whole process, so a call to RQ that forgets its serializer reads JSON too.
"""

from collections.abc import Callable
from typing import Any

import rq.serializers
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import import_attribute

JOB_FUNCTIONS = frozenset(
    {
        "workers.jobs.backfill.work_on_part",
        "workers.jobs.events.apply_events",
        "workers.jobs.events.sweep_due",
        "workers.jobs.events.sweep_events",
        "workers.jobs.reconcile.work_on_reconcile",
    }
)

# What RQ falls back to wherever no serializer is named: in the web, rq-dashboard and the workers' own look-ups.
rq.serializers.PickleSerializer = JSONSerializer  # type: ignore[assignment]


class ForeignJob(Exception):
    """A job names a function that is none of ours, or brings an object to call it on."""


class MirrorJob(Job):
    """A job that runs one of JOB_FUNCTIONS, and nothing else that Redis says."""

    @property
    def func(self) -> Callable[..., Any]:
        if self.func_name not in JOB_FUNCTIONS or self.instance is not None:
            raise ForeignJob("the job names a function that BillStack's workers do not run")
        found: Callable[..., Any] = import_attribute(self.func_name)
        return found

    @property
    def success_callback(self) -> None:
        """We have none, so whoever named one was not us."""

    @property
    def failure_callback(self) -> None:
        """As above."""

    @property
    def stopped_callback(self) -> None:
        """As above."""

    def send_webhooks(self, *_: Any, **__: Any) -> None:
        """As above: a URL in Redis would make a worker call it from inside our network."""
