"""Concurrent requests for the same result: leader, followers, end of a flight."""

from __future__ import annotations

from app.cache.flights import Flights


def test_the_first_request_of_a_key_leads_and_the_next_ones_follow() -> None:
    flights = Flights()
    flight, leads = flights.join("a")
    assert leads
    assert flights.join("a") == (flight, False)


def test_each_key_has_its_own_flight() -> None:
    flights = Flights()
    first, second = flights.join("a"), flights.join("b")
    assert first[1] and second[1]
    assert first[0] is not second[0]


def test_the_end_of_a_flight_wakes_its_followers() -> None:
    flights = Flights()
    flight, _ = flights.join("a")
    assert not flight.ended.is_set()
    flights.end("a")
    assert flight.ended.is_set()


def test_the_next_request_after_the_end_leads_a_new_flight() -> None:
    flights = Flights()
    flight, _ = flights.join("a")
    flights.end("a")
    following, leads = flights.join("a")
    assert leads
    assert following is not flight
