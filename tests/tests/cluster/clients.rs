//! Other people's clients, unchanged, in app pods.

use anyhow::{Result, ensure};

use crate::apps::{GRPC_PUBLISH, zmq_subscriber};
use crate::install::installed;
use crate::kube::{self, until, wait_ready};
use crate::namespace::Namespace;
use crate::pods::App;

const TOPIC: &str = "
apiVersion: pinnace.dev/v1alpha1
kind: Topic
metadata: {name: orders}
spec: {partitions: 3}
";
const CHANNEL: &str = "
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: prices}
spec: {}
";

/// Promise: kcat 1.7.1 produces and consumes in a group through `127.0.0.1:9092`.
#[test]
fn kcat_produces_and_consumes_with_a_group() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("kcat")?;
    namespace.apply(TOPIC)?;
    wait_ready(&namespace.name, "topic/orders", kube::LIMIT)?;
    let app = App::new(&namespace, "billing").start()?;
    app.run("for i in 1 2 3 4 5 6 7 8 9; do echo key$i:order-$i; done | kcat -b $KAFKA_BOOTSTRAP_SERVERS -P -t orders -K: -X acks=all")?;
    let consume =
        "timeout 60 kcat -b $KAFKA_BOOTSTRAP_SERVERS -G billing -X auto.offset.reset=earliest -c 9 -q orders";
    let consumed = app.run(consume)?;
    let mut lines: Vec<&str> = consumed.lines().collect();
    lines.sort_unstable();
    let wanted: Vec<String> = (1..=9).map(|number| format!("order-{number}")).collect();
    ensure!(lines == wanted, "kcat consumed {lines:?}");

    // The group went on from there: only what is new comes.
    app.run("echo key:order-10 | kcat -b $KAFKA_BOOTSTRAP_SERVERS -P -t orders -K: -X acks=all")?;
    let more = app.run(&consume.replace("-c 9", "-c 1"))?;
    ensure!(more.trim() == "order-10", "kcat consumed {more:?} after the commit");
    Ok(())
}

/// Promise: so does kafka-python.
#[test]
fn kafka_python_produces_and_consumes_with_a_group() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("kafka-python")?;
    namespace.apply(TOPIC)?;
    wait_ready(&namespace.name, "topic/orders", kube::LIMIT)?;
    let app = App::new(&namespace, "billing").start()?;
    let consumed = app.python(
        "import os\n\
         from kafka import KafkaConsumer, KafkaProducer\n\
         door = os.environ['KAFKA_BOOTSTRAP_SERVERS']\n\
         producer = KafkaProducer(bootstrap_servers=door, acks='all')\n\
         for number in range(9):\n\
         \x20   producer.send('orders', key=b'key%d' % number, value=b'order-%d' % number).get(timeout=30)\n\
         def consume(count):\n\
         \x20   consumer = KafkaConsumer('orders', bootstrap_servers=door, group_id='billing',\n\
         \x20       auto_offset_reset='earliest', enable_auto_commit=False, consumer_timeout_ms=60000)\n\
         \x20   taken = []\n\
         \x20   for message in consumer:\n\
         \x20       taken.append(message.value.decode())\n\
         \x20       if len(taken) == count:\n\
         \x20           break\n\
         \x20   consumer.commit()\n\
         \x20   consumer.close()\n\
         \x20   return ' '.join(sorted(taken))\n\
         print(consume(9))\n\
         producer.send('orders', value=b'order-9').get(timeout=30)\n\
         print(consume(1))\n",
    )?;
    let wanted: Vec<String> = (0..9).map(|number| format!("order-{number}")).collect();
    ensure!(consumed == format!("{}\norder-9\n", wanted.join(" ")), "consumed: {consumed}");
    Ok(())
}

/// Promise: a ZeroMQ SUB socket in an app pod gets what a gRPC publisher in another pod sends,
/// those subjects that it asked for.
#[test]
fn a_zeromq_subscriber_gets_what_a_grpc_publisher_sends() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("zeromq")?;
    namespace.apply(CHANNEL)?;
    let pricing = App::new(&namespace, "pricing").start()?;
    let shop = App::new(&namespace, "shop").start()?;
    shop.start_python("subscriber", &zmq_subscriber("prices", "eu."))?;
    let publish =
        format!("{GRPC_PUBLISH}\npublish('channels/prices', [('us.ny', 'other'), ('eu.de', 'wanted')])\n");
    let printed = until("a message to reach the ZeroMQ socket", kube::LIMIT, || {
        pricing.python(&publish)?;
        let printed = shop.printed("subscriber")?;
        Ok(printed.contains("eu.de wanted").then_some(printed))
    })?;
    ensure!(!printed.contains("us.ny"), "a subject arrived that nobody asked for: {printed}");
    Ok(())
}
