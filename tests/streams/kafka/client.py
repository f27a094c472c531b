"""Another client of Kafka (librdkafka), for the tests: one JSON request a line in, one JSON answer a line out.

  {"do": "topic", "name": t, "partitions": n}                                -> {}
  {"do": "produce", "topic": t, "format": f, "from": a, "count": n}          orders number a to a + n - 1, acknowledged by two brokers
      "schema": id                                                           the format is json, avro or protobuf, framed as for a registry
      "registry": {"url": u, "user": .., "password": ..}                     avro by the registry's own serializer, which registers its schema
      "per_second": n                                                        no faster than that
      -> {"acked": n}
  {"do": "send", "topic": t, "messages": [{"key", "value": base64, "headers": {}, "partition"}]} -> {"positions": ["topic/partition/offset"]}
  {"do": "read", "topic": t, "most": n}      what is committed, in the order of the partitions
      "registry": {"url": u}                 by the registry's own deserializer of Avro: then a value is JSON, times are texts
      -> {"messages": [{"partition", "offset", "key", "headers", "value"}]}
  {"do": "ends", "topic": t}                                                 -> {"ends": {partition: offset}}
  {"do": "lag", "group": g, "topic": t}                                      -> {"lag": n, "committed": {partition: offset}}
  {"do": "members", "group": g}                                              -> {"members": n, "state": s}
  {"do": "pass", "topic": t, "most": n}      reads as fast as it can         -> {"messages": n, "bytes": n, "seconds": s, "cpu": s}
  {"do": "whole"}                            all brokers are in step         -> {}
  {"do": "elect"}                            each partition, those of the groups' coordinators too, is led again by the broker that should -> {}

A key and a value are text; what is not UTF-8 has replacement characters. Orders of one user have one key.
"""
import base64, datetime, decimal, io, json, os, resource, struct, sys, time

from confluent_kafka import Consumer, ElectionType, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever prints to stdout must not mix with the answers
here = os.path.dirname(os.path.abspath(__file__))
connection = json.loads(sys.argv[1])  # settings of librdkafka: bootstrap.servers, ...
connection.setdefault("log_level", 0)
admin = AdminClient(connection)
USERS = 50


def order(n):
    """The same for the same number; every number that a double would change is in it."""
    return {
        "n": n,
        "user": f"user-{n % USERS}",
        "big": 9007199254740993 + 2 * n,
        "amount": f"{12345678901234567890123 + n}.100000001",
        "at": f"2026-11-28T10:{n // 60 % 60:02}:{n % 60:02}.123456Z",
        "note": None if n % 3 else f"note {n}",
        "lines": [{"sku": f"sku-{n % 7}", "quantity": n % 5 + 1}],
    }


def as_json(order):
    # Python would round the amount.
    return json.dumps(order | {"amount": 0}, separators=(",", ":")).replace('"amount":0', f'"amount":{order["amount"]}').encode()


def avro_value(order):
    at = datetime.datetime.fromisoformat(order["at"].replace("Z", "+00:00"))
    return order | {"amount": decimal.Decimal(order["amount"]), "at": at}


def avro(request):
    import fastavro

    with open(os.path.join(here, "order.avsc")) as file:
        text = file.read()
    if "registry" in request:
        from confluent_kafka.schema_registry import SchemaRegistryClient, topic_subject_name_strategy
        from confluent_kafka.schema_registry.avro import AvroSerializer
        from confluent_kafka.serialization import MessageField, SerializationContext

        registry = request["registry"]
        settings = {"url": registry["url"]}
        if "user" in registry:
            settings["basic.auth.user.info"] = f"{registry['user']}:{registry['password']}"
        serializer = AvroSerializer(SchemaRegistryClient(settings), text, conf={"subject.name.strategy": topic_subject_name_strategy})
        context = SerializationContext(request["topic"], MessageField.VALUE)
        return lambda order: serializer(avro_value(order), context)
    schema = fastavro.parse_schema(json.loads(text))
    head = struct.pack(">bI", 0, request["schema"])

    def encode(order):
        out = io.BytesIO()
        out.write(head)
        fastavro.schemaless_writer(out, schema, avro_value(order))
        return out.getvalue()

    return encode


def protobuf(request):
    """The message of order.proto, built by hand: there is no compiler here."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="order.proto", package="shop", syntax="proto3")
    file.message_type.add(name="Before").field.add(name="unused", number=1, type=8, label=1)
    message = file.message_type.add(name="Order")
    for number, (name, kind) in enumerate([("n", 3), ("user", 9), ("big", 3), ("amount", 9), ("at", 9)], start=1):
        message.field.add(name=name, number=number, type=kind, label=1)
    message.oneof_decl.add(name="_note")
    message.field.add(name="note", number=6, type=9, label=1, proto3_optional=True, oneof_index=0)
    message.field.add(name="lines", number=7, type=11, label=3, type_name=".shop.Order.Line")
    line = message.nested_type.add(name="Line")
    line.field.add(name="sku", number=1, type=9, label=1)
    line.field.add(name="quantity", number=2, type=5, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order"))
    # Behind the schema's id stands which message it is: one index, and it is 1, as zigzag varints.
    head = struct.pack(">bI", 0, request["schema"]) + b"\x02\x02" if "schema" in request else b""
    return lambda order: head + made(**order).SerializeToString()


def produce(request):
    encode = {"json": lambda _: as_json, "avro": avro, "protobuf": protobuf}[request["format"]](request)
    # Patient: brokers are killed meanwhile. Idempotent, so that it doubles nothing itself.
    settings = {"enable.idempotence": True, "linger.ms": 20, "delivery.timeout.ms": 120000, "queue.buffering.max.messages": 50000}
    producer = Producer(connection | settings)
    failed, acked = [], 0

    def said(error, _):
        nonlocal acked
        acked += error is None
        if error is not None:
            failed.append(str(error))

    began = time.monotonic()
    for n in range(request["from"], request["from"] + request["count"]):
        made = order(n)
        while True:
            try:
                producer.produce(request["topic"], encode(made), made["user"], on_delivery=said)
                break
            except BufferError:
                producer.poll(0.1)
        if n % 100 == 0:
            producer.poll(0)
            due = began + (n - request["from"]) / request["per_second"] if "per_second" in request else 0
            # A poll ends early when something was acknowledged.
            while time.monotonic() < due:
                producer.poll(max(due - time.monotonic(), 0))
    producer.flush(150)
    if failed or acked != request["count"]:
        raise RuntimeError(f"{acked} of {request['count']} were acknowledged: {failed[:3]}")
    return {"acked": acked}


def send(request):
    producer, positions = Producer(connection | {"enable.idempotence": True}), []

    def said(error, message):
        if error is not None:
            raise KafkaException(error)
        positions.append(f"{message.topic()}/{message.partition()}/{message.offset()}")

    for message in request["messages"]:
        value = base64.b64decode(message["value"]) if message.get("value") is not None else None
        more = {"partition": message["partition"]} if "partition" in message else {}
        if message.get("headers"):
            more["headers"] = list(message["headers"].items())
        producer.produce(request["topic"], value, message.get("key"), on_delivery=said, **more)
        producer.flush(120)
    if len(positions) != len(request["messages"]):
        raise RuntimeError("not all were acknowledged")
    return {"positions": positions}


def topic(request):
    made = NewTopic(request["name"], num_partitions=request.get("partitions", 3), replication_factor=3)
    admin.create_topics([made])[request["name"]].result(60)
    # The brokers learn of it one after the other.
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = admin.list_topics(request["name"], timeout=30).topics[request["name"]]
        if found.error is None and found.partitions and all(p.leader >= 0 and len(p.isrs) == 3 for p in found.partitions.values()):
            return {}
        time.sleep(0.1)
    raise RuntimeError("the topic has no leaders")


def consumer(group, **more):
    return Consumer(connection | {"group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest", **more})


def partitions_of(name):
    found = admin.list_topics(name, timeout=60).topics[name]
    if found.error is not None:
        raise RuntimeError(str(found.error))
    return [TopicPartition(name, at) for at in sorted(found.partitions)]


def ends_of(name):
    reader = consumer("ends", **{"isolation.level": "read_committed"})
    ends = {p.partition: reader.get_watermark_offsets(p, timeout=60)[1] for p in partitions_of(name)}
    reader.close()
    return ends


def ends(request):
    return {"ends": ends_of(request["topic"])}


def text(value):
    return None if value is None else value.decode("utf-8", "replace")


def reader_of(request):
    """What makes a value of a message's bytes."""
    if "registry" not in request:
        return text
    from confluent_kafka.schema_registry import SchemaRegistryClient, topic_subject_name_strategy
    from confluent_kafka.schema_registry.avro import AvroDeserializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    registry = SchemaRegistryClient({"url": request["registry"]["url"]})
    deserialize = AvroDeserializer(registry, conf={"subject.name.strategy": topic_subject_name_strategy})
    context = SerializationContext(request["topic"], MessageField.VALUE)
    return lambda value: json.loads(json.dumps(deserialize(value, context), default=str))


def read(request):
    name, found, value_of = request["topic"], [], reader_of(request)
    reader = consumer("read", **{"isolation.level": "read_committed", "enable.partition.eof": True})
    open_partitions = partitions_of(name)
    reader.assign([TopicPartition(p.topic, p.partition, 0) for p in open_partitions])
    left, until = {p.partition for p in open_partitions}, time.monotonic() + 120
    while left and len(found) < request.get("most", 10_000_000):
        if time.monotonic() > until:
            raise RuntimeError(f"{len(found)} messages were read, and partitions {left} have no end")
        for message in reader.consume(5000, timeout=0.1):
            if message.error() is not None:
                if message.error().name() != "_PARTITION_EOF":
                    raise KafkaException(message.error())
                left.discard(message.partition())
                continue
            headers = {key: text(value) for key, value in message.headers() or []}
            found.append({"partition": message.partition(), "offset": message.offset(), "key": text(message.key()), "headers": headers, "value": value_of(message.value())})
    reader.close()
    found.sort(key=lambda message: (message["partition"], message["offset"]))
    return {"messages": found}


def lag(request):
    reader = Consumer(connection | {"group.id": request["group"], "enable.auto.commit": False})
    committed = {p.partition: max(p.offset, 0) for p in reader.committed(partitions_of(request["topic"]), timeout=60)}
    reader.close()
    ends = ends_of(request["topic"])
    return {"lag": sum(ends[at] - committed.get(at, 0) for at in ends), "committed": committed}


def members(request):
    """A client of its own each time: librdkafka keeps for ten minutes which broker coordinates a group, though another one may by now."""
    own = AdminClient(connection)
    found = own.describe_consumer_groups([request["group"]], request_timeout=20)[request["group"]].result(30)
    return {"members": len(found.members), "state": found.state.name}


def pass_by(request):
    """As fast as this client reads, and nothing else; from the first message on."""
    reader, name = consumer(f"pass-{os.getpid()}-{time.monotonic()}"), request["topic"]
    wanted = min(sum(ends_of(name).values()), request.get("most", 1 << 60))
    reader.assign([TopicPartition(p.topic, p.partition, 0) for p in partitions_of(name)])
    before, began, count, size = resource.getrusage(resource.RUSAGE_SELF), None, 0, 0
    while count < wanted:
        found = reader.consume(5000, timeout=0.05)
        began = began or (time.monotonic() if found else None)
        for message in found:
            if message.error() is not None:
                raise KafkaException(message.error())
            size += len(message.value() or b"")
        count += len(found)
    seconds, after = time.monotonic() - (began or time.monotonic()), resource.getrusage(resource.RUSAGE_SELF)
    reader.close()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"messages": count, "bytes": size, "seconds": seconds, "cpu": cpu}


def whole(_):
    """Waits until every partition has three replicas in step: then another broker may be killed."""
    until, seen = time.monotonic() + 120, None
    while time.monotonic() < until:
        found = admin.list_topics(timeout=60)
        seen = [f"{t.topic}/{p.id}" for t in found.topics.values() for p in t.partitions.values() if len(p.isrs) < 3 or p.leader < 0]
        if len(found.brokers) == 3 and not seen:
            return {}
        time.sleep(0.2)
    raise RuntimeError(f"not in step: {seen[:5]}")


def elect(_):
    topics = admin.list_topics(timeout=60).topics.values()
    admin.elect_leaders(ElectionType.PREFERRED, [TopicPartition(t.topic, p.id) for t in topics for p in t.partitions.values()]).result(60)
    return {}


WORDS = {"topic": topic, "produce": produce, "send": send, "read": read, "ends": ends, "lag": lag, "members": members, "pass": pass_by, "whole": whole, "elect": elect}

# What changes nothing is asked again for a while, whatever went wrong: another test may be killing a broker.
QUESTIONS = {"ends", "lag", "members"}


def answered(request):
    until = time.monotonic() + 120
    while True:
        try:
            return WORDS[request["do"]](request)
        except Exception:
            if request["do"] not in QUESTIONS or time.monotonic() > until:
                raise
            time.sleep(0.5)


for line in sys.stdin:
    try:
        answer = answered(json.loads(line))
    except Exception as error:  # the test says what it was
        import traceback
        answer = {"error": "".join(traceback.format_exception(error))}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
