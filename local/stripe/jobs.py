"""What the stand-in's clock does, each at its time."""

from collections.abc import Callable, Mapping
from typing import Final

from local.stripe import charges, checkout, checkout_pay, collection, intents, subscription_life
from local.stripe.world import World

JOBS_AT_ONCE_MAX: Final = 200


def settle_debit(world: World, intent_id: str) -> None:
    """Hear from the bank whether a debit is paid, as its account says."""
    intent = world.known("payment_intent", intent_id)
    method = world.known("payment_method", intent["payment_method"])
    settle(world, intent_id, succeeded=method["_outcome"] == "debit_ok")


def settle(world: World, intent_id: str, *, succeeded: bool) -> None:
    """Hear from the bank about a debit, and tell the invoice and the session that wait for it."""
    intent = world.known("payment_intent", intent_id)
    if intent["status"] != "processing":
        return
    world.store.remove_jobs(intents.SETTLE, intent_id)
    charge = world.known("charge", intent["latest_charge"])
    method = world.known("payment_method", intent["payment_method"])
    if succeeded:
        charges.succeed(world, charge, "charge.succeeded")
        intents.succeeded(world, intent)
    else:
        charges.fail(world, charge, "debit_fail")
        intents.refused(world, intent, method, "debit_fail")
    invoice = world.find("invoice", intent.get("_invoice"))
    if invoice is not None:
        collection.settled(world, invoice, succeeded=succeeded)
    session = world.find("checkout.session", intent.get("_session"))
    if session is not None:
        checkout_pay.settled(world, session, succeeded=succeeded)


JOBS: Final[Mapping[str, Callable[[World, str], None]]] = {
    checkout.EXPIRE: checkout.expire_later,
    collection.COLLECT: collection.collect,
    collection.FINALIZE: collection.finalize_later,
    intents.SETTLE: settle_debit,
    subscription_life.GIVE_UP: subscription_life.give_up,
    subscription_life.RENEW: subscription_life.renew,
    subscription_life.RESUME: subscription_life.resume,
}


def run_due(world: World) -> int:
    """Do what is due, in order, each at the time it was due at; return how much was done."""
    done = 0
    while done < JOBS_AT_ONCE_MAX:
        with world.acting():
            job = world.store.next_job()
            if job is None or job.at > world.now:
                return done
            world.store.remove_job(job.seq)
            with world.acting(at=job.at):
                JOBS[job.verb](world, job.ref)
        done += 1
    return done
