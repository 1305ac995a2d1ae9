"""What we rely on in Flower beyond its documentation, one test for each thing.

When one of these fails, the pinned version was changed: read the new source, adapt
``fedpref/transport/flower`` and then this file.
"""

import importlib.metadata
import inspect
import tomllib

import pytest
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedpref.transport.flower import exchange
from fedpref.transport.flower.courier import FIELD, RECORD, pack, unpack

PINNED = "1.41.0"


def holds(truth, what):
    assert truth, f"flwr internals moved: {what}"


@pytest.fixture
def message(identity):
    return Message(pack(b"payload"), 7, "train.share", ttl=60.0)


def test_the_version_is_the_pinned_one(root) -> None:
    found = importlib.metadata.version("flwr")
    holds(found == PINNED, f"version is {found}, these tests were read for {PINNED}")
    project = tomllib.loads((root / "pyproject.toml").read_text())
    assert f"flwr=={PINNED}" in project["project"]["dependencies"]


def test_the_identity_of_a_task_can_be_set(identity) -> None:
    from flwr.supercore.task_identity import TaskIdentity

    for name in ("task_id", "run_id", "node_id"):
        setattr(TaskIdentity, name, 5)
        holds(getattr(TaskIdentity, name) == 5, f"TaskIdentity.{name}")
        setattr(TaskIdentity, f"_{name}", None)
        with pytest.raises(RuntimeError):
            getattr(TaskIdentity, name)
    with pytest.raises(RuntimeError):
        Message(RecordDict(), 7, "train.share")
    identity()
    sent = Message(RecordDict(), 7, "train.share").metadata
    found = (sent.run_id, sent.src_node_id, sent.src_task_id)
    holds(found == (1, 0, 1), "Message takes its sender from TaskIdentity")


def test_an_empty_run_can_be_made() -> None:
    from flwr.supercore.run import Run

    holds(Run.create_empty(9).run_id == 9, "Run.create_empty(run_id)")


def test_a_message_is_made_of_content_node_type_and_ttl(message) -> None:
    data = message.metadata
    found = (data.dst_node_id, data.message_type, data.ttl, data.message_id)
    holds(found == (7, "train.share", 60.0, ""), "Message(content, node, type, ttl=)")
    holds(message.has_content() and not message.has_error(), "Message.has_content")
    with pytest.raises(ValueError, match="Invalid message type"):
        Message(RecordDict(), 7, "share")


def test_a_reply_names_what_it_replies_to(message) -> None:
    """The name is set by whoever carries the message, through the metadata's dict."""
    message.metadata.__dict__["_message_id"] = "name"
    holds(message.metadata.message_id == "name", "Metadata._message_id")
    for content in (pack(b"x"), Error(code=1)):
        reply = Message(content, reply_to=message)
        data = reply.metadata
        found = (data.reply_to_message_id, data.src_node_id, data.dst_node_id)
        holds(found == ("name", 7, 0), "Message(..., reply_to=)")
        holds(data.message_type == "train.share", "a reply's message type")
        holds(0 < data.ttl <= 60.0, "a reply's ttl is what is left of the request's")
        holds(reply.has_error() is isinstance(content, Error), "Message.has_error")
    holds(Error(code=1).reason is None, "Error(code) has no reason")


def test_a_context_is_made_of_five_things() -> None:
    context = Context(1, 2, {"a": 3}, RecordDict(), {"b": 4})
    found = (context.run_id, context.node_id, context.node_config, context.run_config)
    holds(found == (1, 2, {"a": 3}, {"b": 4}), "Context(run, node, config, state, run)")


def test_a_grid_has_these_methods_and_no_more() -> None:
    wanted = {
        "create_message": ["content", "message_type", "dst_node_id", "group_id", "ttl"],
        "get_node_ids": [],
        "pull_messages": ["message_ids"],
        "push_messages": ["messages"],
        "send_and_receive": ["messages", "timeout"],
        "set_run": ["run"],
    }
    abstract = set(Grid.__abstractmethods__)
    holds(abstract == {*wanted, "run"}, f"Grid's abstract methods are {abstract}")
    for name, names in wanted.items():
        found = list(inspect.signature(getattr(Grid, name)).parameters)[1:]
        holds(found == names, f"Grid.{name} takes {found}")


def test_flowers_own_grid_pulls_by_name_and_may_take_nothing() -> None:
    """``exchange`` stands on this; Flower's ``send_and_receive`` it does not use."""
    from flwr.superlink.grid.http_grid import HttpGrid

    push = inspect.getsource(HttpGrid.push_messages)
    holds('metadata.__dict__["_message_id"]' in push, "HttpGrid names messages itself")
    holds("return []" in push, "HttpGrid.push_messages returns [] if too large")
    pull = inspect.getsource(HttpGrid.pull_messages)
    holds("reply_to_message_id" in pull, "HttpGrid's own errors name the request")
    whole = inspect.getsource(HttpGrid.send_and_receive)
    holds("time.sleep(3)" in whole, "HttpGrid.send_and_receive looks every 3 seconds")


def test_the_superlink_answers_for_nodes_under_number_one() -> None:
    from flwr.common.constant import SUPERLINK_NODE_ID
    from flwr.server.superlink.linkstate import utils

    holds(SUPERLINK_NODE_ID == exchange.SUPERLINK, "SUPERLINK_NODE_ID")
    source = inspect.getsource(utils.create_message_error_unavailable_res_message)
    holds("src_node_id=SUPERLINK_NODE_ID" in source, "who speaks for a node")
    holds("reply_to_message_id=ins_metadata.message_id" in source, "and to what")


def test_bytes_come_back_as_they_were() -> None:
    """As Flower stores and sends a record: protobuf, neither pickle nor np.save."""
    every = bytes(range(256)) * 17
    record = ConfigRecord({FIELD: every})
    again = ConfigRecord.inflate(record.deflate())
    holds(again[FIELD] == every, "ConfigRecord keeps bytes")
    holds(type(again[FIELD]) is bytes, "ConfigRecord gives bytes back")
    holds(len(record.deflate()) < len(every) + 64, "ConfigRecord adds a few bytes only")
    empty = ConfigRecord.inflate(ConfigRecord({FIELD: b""}).deflate())
    holds(empty[FIELD] == b"", "ConfigRecord keeps an empty field")
    whole = pack(every)
    holds(list(whole) == [RECORD], "a RecordDict lists its records")
    holds(unpack(whole) == every, "a RecordDict gives its records back")


def test_a_client_app_routes_by_category_and_action(identity) -> None:
    app, context = ClientApp(), Context(1, 7, {}, RecordDict(), {})
    app.train("share")(lambda message, context: "shared")
    app.query("device")(lambda message, context: "known")
    holds(set(app._registered_funcs) == {"train.share", "query.device"}, "_registered")
    for name, said in (("train.share", "shared"), ("query.device", "known")):
        holds(app(Message(RecordDict(), 7, name), context) == said, f"action {name}")
    with pytest.raises(ValueError, match="No train function registered"):
        app(Message(RecordDict(), 7, "train.upload"), context)


@pytest.mark.parametrize("error", [ValueError("ours"), KeyboardInterrupt, SystemExit])
def test_a_server_app_hands_on_what_its_main_raises(error) -> None:
    app = ServerApp()

    @app.main()
    def main(grid, context) -> None:
        raise error

    with pytest.raises(error if isinstance(error, type) else type(error)) as caught:
        app(None, Context(1, 0, {}, RecordDict(), {}))
    if not isinstance(error, type):
        holds(caught.value is error, "ServerApp.__call__ lets errors through")
