//! Scripts that scenarios run in app pods: publishers and subscribers written with other
//! people's clients, gRPC's, ZeroMQ's, Kafka's, and plain HTTP.

/// Publishes `count` numbered messages to a Channel or Topic over HTTP, `pause_s` apart, each again until it is
/// taken, and prints each number once it was.
pub(crate) fn http_publisher(path: &str, count: u64, pause_s: f64) -> String {
    format!(
        "import http.client, time\n\
         for number in range({count}):\n\
         \x20   while True:\n\
         \x20       try:\n\
         \x20           door = http.client.HTTPConnection('127.0.0.1', 7400, timeout=10)\n\
         \x20           door.request('POST', '{path}', f'message {{number}}', {{'pinnace-subject': 'eu'}})\n\
         \x20           answer = door.getresponse()\n\
         \x20           answer.read()\n\
         \x20           if answer.status == 202:\n\
         \x20               break\n\
         \x20       except OSError:\n\
         \x20           pass\n\
         \x20       time.sleep(0.2)\n\
         \x20   print(number)\n\
         \x20   time.sleep({pause_s})\n"
    )
}

/// Subscribes over HTTP and prints each line that comes, for as long as it is let.
pub(crate) fn http_subscriber(path: &str) -> String {
    format!(
        "import http.client\n\
         door = http.client.HTTPConnection('127.0.0.1', 7400)\n\
         door.request('GET', '{path}')\n\
         answer = door.getresponse()\n\
         print('status', answer.status)\n\
         for line in answer:\n\
         \x20   print(line.decode().strip())\n"
    )
}

/// Subscribes with a ZeroMQ SUB socket and prints the frames of each message, one line each.
pub(crate) fn zmq_subscriber(channel: &str, prefix: &str) -> String {
    format!(
        "import os, zmq\n\
         socket = zmq.Context().socket(zmq.SUB)\n\
         socket.setsockopt(zmq.SUBSCRIBE, b'{prefix}')\n\
         socket.connect('ipc://' + os.environ['PINNACE_ZMQ_DIR'] + '/{channel}.sub')\n\
         print('connected')\n\
         while True:\n\
         \x20   print(b' '.join(socket.recv_multipart()).decode())\n"
    )
}

/// `publish(name, [(subject, payload)…])` over gRPC: gives the offsets that were acknowledged.
/// The protobuf of `pinnace.v1.Messaging/Publish` is written by hand, as any client's would be.
pub(crate) const GRPC_PUBLISH: &str = "
import grpc, os
def varint(value):
    out = b''
    while value > 127:
        out += bytes([value & 127 | 128]); value >>= 7
    return out + bytes([value])
def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content
def number(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift; shift += 7; at += 1
        if data[at - 1] < 128:
            return value, at
def fields(data):
    at = 0
    while at < len(data):
        key, at = number(data, at)
        if key & 7 == 2:
            size, at = number(data, at)
            yield key >> 3, data[at:at + size]; at += size
        else:
            value, at = number(data, at)
            yield key >> 3, value
door = grpc.insecure_channel(os.environ['PINNACE_ADDRESS'])
call = door.unary_unary('/pinnace.v1.Messaging/Publish',
    request_serializer=lambda data: data, response_deserializer=lambda data: data)
def publish(name, messages):
    body = field(1, name.encode())
    for subject, payload in messages:
        body += field(2, field(1, subject.encode()) + field(4, payload.encode()))
    answer = call(body, timeout=30)
    return [dict(fields(position)).get(2, 0) for kind, position in fields(answer) if kind == 1]
";

/// The numbers of the messages `message N` in what [`http_subscriber`] printed, in order.
pub(crate) fn numbers(printed: &str) -> Vec<u64> {
    printed
        .lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once("\"message ")?;
            rest.split('"').next()?.parse().ok()
        })
        .collect()
}
