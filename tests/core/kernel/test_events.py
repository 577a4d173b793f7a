import msgspec

from app.core.kernel.events import EventBus, ModelsChanged, Notice


def test_a_listener_gets_its_kind_of_event_in_order_until_it_unsubscribes() -> None:
    bus = EventBus(on_error=lambda _: None)
    heard: list[msgspec.Struct] = []
    stop = bus.subscribe(Notice, heard.append)
    first, second = Notice(level="info", message="one"), Notice(level="info", message="two")
    bus.publish(first)
    bus.publish(ModelsChanged())
    bus.publish(second)
    stop()
    bus.publish(first)
    assert heard == [first, second]


def test_a_listener_that_raises_harms_neither_publisher_nor_other_listeners() -> None:
    errors: list[Exception] = []
    bus = EventBus(on_error=errors.append)
    heard: list[ModelsChanged] = []

    def broken(_: ModelsChanged) -> None:
        raise ValueError("broken listener")

    bus.subscribe(ModelsChanged, broken)
    bus.subscribe(ModelsChanged, heard.append)
    bus.publish(ModelsChanged())
    assert len(heard) == 1
    assert [str(error) for error in errors] == ["broken listener"]


def test_unsubscribing_twice_is_harmless() -> None:
    bus = EventBus(on_error=lambda _: None)
    stop = bus.subscribe(ModelsChanged, lambda _: None)
    stop()
    stop()
