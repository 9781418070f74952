"""Jobs, items and outputs for tests."""

from __future__ import annotations

from app.jobs.model import Counts, Item, ItemState, Job, JobState, NewItem, NewJob, Output, Variant

__all__ = ["PNG", "a_job", "an_item", "an_output", "new_job"]

PNG = Variant("", {"format": "PNG"})


def new_job(job_id: str = "0" * 32, photos: int = 2, **fields: object) -> NewJob:
    """Return a job of photos `photo-1.jpg`, `photo-2.jpg` …, not stored yet."""
    items = tuple(
        NewItem(f"photo-{number}.jpg", base=f"photo-{number}", key=f"{job_id}/in-{number}", size=100 + number)
        for number in range(1, photos + 1)
    )
    return NewJob(**{"id": job_id, "owner": "", "variants": (PNG,), "items": items, **fields})  # type: ignore[arg-type]


def a_job(job_id: str = "0" * 32, **fields: object) -> Job:
    """Return a stored job of two photos, one of them finished."""
    defaults: dict[str, object] = {
        "id": job_id,
        "owner": "",
        "state": JobState.RUNNING,
        "created": 1_000_000.0,
        "started": 1_000_010.0,
        "ended": None,
        "expires": 1_086_400.0,
        "counts": Counts(queued=1, done=1),
        "variants": (PNG,),
    }
    return Job(**{**defaults, **fields})  # type: ignore[arg-type]


def an_item(number: int = 1, state: ItemState = ItemState.QUEUED, **fields: object) -> Item:
    """Return a stored photo."""
    name = f"photo-{number}"
    return Item(number, f"{name}.jpg", state, **{"base": name, **fields})  # type: ignore[arg-type]


def an_output(job_id: str = "0" * 32, number: int = 1, variant: str = "", folder: str = "") -> Output:
    """Return a stored result."""
    path = f"{folder}/photo-{number}.png" if folder else f"photo-{number}.png"
    return Output(variant, path, f"{job_id}/out-{number}", "image/png", 9, "ab" * 32, 30, 20, "lite", 0.9)
