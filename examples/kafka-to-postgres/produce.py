"""Publishes orders to the topic `orders` of a broker at localhost:9092, or at those that BROKERS names, and makes the topic if it is missing.

  pip install confluent-kafka
  python3 produce.py [how many]
"""
import datetime, json, os, sys

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

brokers = {"bootstrap.servers": os.environ.get("BROKERS", "localhost:9092")}
count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
admin = AdminClient(brokers)
try:
    # As many replicas as the brokers make by default.
    admin.create_topics([NewTopic("orders", num_partitions=3)])["orders"].result(60)
except KafkaException as error:
    if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
        raise
producer = Producer(brokers | {"enable.idempotence": True})
for n in range(count):
    customer = f"customer-{n % 100}"
    order = {
        "orderId": f"order-{n}",
        "customer": customer,
        "placedAt": datetime.datetime.now(datetime.timezone.utc).isoformat(),
        "total": n % 500 + 0.99,
        "lines": [{"sku": f"sku-{n % 7}", "quantity": n % 3 + 1}],
    }
    producer.produce("orders", json.dumps(order), customer)
    producer.poll(0)
left = producer.flush(60)
if left:
    sys.exit(f"{left} of {count} orders were not acknowledged")
print(f"{count} orders are in the topic")
