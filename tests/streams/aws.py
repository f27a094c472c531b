"""A double of Kinesis and of S3 (moto), a client of both (boto3), and a reader of files (DuckDB), for the tests: one JSON request a line in, one JSON
answer a line out. The packages are those of tests/warehouses/lake.

  {"do": "endpoint"}                                                      -> {"endpoint": url}
  {"do": "stream", "name": s, "shards": n}                                -> {}
  {"do": "orders", "name": s, "from": a, "count": n}                      {"n": .., "user": ..} for each number -> {"put": n}
  {"do": "packed", "name": s, "from": a, "count": n, "each": m}           the same, m in one record as the producer library packs them -> {"records": n}
  {"do": "put", "name": s, "data": base64, "key": k}                      -> {"shard": id, "at": sequence number}
  {"do": "split", "name": s}, {"do": "merge", "name": s}                  the first open shard; the first two of them -> {}
  {"do": "read", "name": s}                                               -> {"records": [{"key", "data"}]}
  {"do": "bucket", "name": b}                                             -> {}
  {"do": "objects", "name": b}                                            -> {"keys": [..]}
  {"do": "files", "name": b, "to": folder, "sql": sql}    all objects of the bucket in a folder, and what DuckDB says of those with lines of JSON, {files}
      -> {"rows": ["cell|cell"]}
"""
import base64, hashlib, json, logging, os, sys, time

import boto3
from moto.server import ThreadedMotoServer

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever prints to stdout must not mix with the answers
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
url = "http://{}:{}".format(*server.get_host_and_port())
keys = {"endpoint_url": url, "aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "eu-west-1"}
kinesis, s3 = boto3.client("kinesis", **keys), boto3.client("s3", **keys)


def endpoint(_):
    return {"endpoint": url}


def stream(request):
    kinesis.create_stream(StreamName=request["name"], ShardCount=request["shards"])
    until = time.monotonic() + 60
    while kinesis.describe_stream_summary(StreamName=request["name"])["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
        assert time.monotonic() < until, "the stream does not become active"
        time.sleep(0.1)
    return {}


def order(n):
    return json.dumps({"n": n, "user": f"user-{n % 50}", "big": 9007199254740993 + 2 * n}).encode()


def numbers(request):
    return range(request["from"], request["from"] + request["count"])


def put_all(name, records):
    for at in range(0, len(records), 500):
        done = kinesis.put_records(StreamName=name, Records=records[at : at + 500])
        assert done["FailedRecordCount"] == 0, done
    return len(records)


def orders(request):
    return {"put": put_all(request["name"], [{"Data": order(n), "PartitionKey": f"user-{n % 50}"} for n in numbers(request)])}


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def packed(request):
    """AggregatedRecord of the Kinesis Producer Library: a magic number, a table of keys, records that name theirs, and an MD5."""
    all_numbers, records = list(numbers(request)), []
    for at in range(0, len(all_numbers), request["each"]):
        some = all_numbers[at : at + request["each"]]
        users = sorted({f"user-{n % 50}" for n in some})
        body = b"".join(field(1, user.encode()) for user in users)
        for n in some:
            body += field(3, varint(1 << 3) + varint(users.index(f"user-{n % 50}")) + field(3, order(n)))
        records.append({"Data": b"\xf3\x89\x9a\xc2" + body + hashlib.md5(body).digest(), "PartitionKey": users[0]})
    return {"records": put_all(request["name"], records)}


def put(request):
    done = kinesis.put_record(StreamName=request["name"], Data=base64.b64decode(request["data"]), PartitionKey=request["key"])
    return {"shard": done["ShardId"], "at": done["SequenceNumber"]}


def open_shards(name):
    shards = kinesis.list_shards(StreamName=name)["Shards"]
    return [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]


def split(request):
    shard = open_shards(request["name"])[0]
    low, high = (int(shard["HashKeyRange"][end]) for end in ("StartingHashKey", "EndingHashKey"))
    kinesis.split_shard(StreamName=request["name"], ShardToSplit=shard["ShardId"], NewStartingHashKey=str((low + high) // 2))
    return {}


def merge(request):
    shards = sorted(open_shards(request["name"]), key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
    kinesis.merge_shards(StreamName=request["name"], ShardToMerge=shards[0]["ShardId"], AdjacentShardToMerge=shards[1]["ShardId"])
    return {}


def read(request):
    found = []
    for shard in kinesis.list_shards(StreamName=request["name"])["Shards"]:
        at = kinesis.get_shard_iterator(StreamName=request["name"], ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        while at:
            got = kinesis.get_records(ShardIterator=at, Limit=10000)
            found += [{"key": r["PartitionKey"], "data": r["Data"].decode("utf-8", "replace")} for r in got["Records"]]
            at = got.get("NextShardIterator") if got["Records"] else None
    return {"records": found}


def bucket(request):
    s3.create_bucket(Bucket=request["name"], CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return {}


def keys_of(name):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=name)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def objects(request):
    return {"keys": keys_of(request["name"])}


def files(request):
    import duckdb

    for key in keys_of(request["name"]):
        target = os.path.join(request["to"], key)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        s3.download_file(request["name"], key, target)
    pattern = "'" + os.path.join(request["to"], "**/*.jsonl*") + "'"
    rows = duckdb.connect().execute(request["sql"].replace("{files}", pattern)).fetchall()
    return {"rows": ["|".join("" if cell is None else str(cell) for cell in row) for row in rows]}


WORDS = {word.__name__: word for word in (endpoint, stream, orders, packed, put, split, merge, read, bucket, objects, files)}

for line in sys.stdin:
    try:
        request = json.loads(line)
        answer = WORDS[request["do"]](request)
    except Exception as error:  # the test says what it was
        import traceback
        answer = {"error": "".join(traceback.format_exception(error))}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
