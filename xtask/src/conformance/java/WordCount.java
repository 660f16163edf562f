// A word count with Kafka Streams and exactly_once_v2 that is broken off in the middle and started anew. Every
// update is written out, so the counts of a word must be 1, 2, 3, … without a gap or a repetition.
import java.nio.file.Path;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;

public final class WordCount {
    static final int LINES = 2000;
    static final int PARTITIONS = 2;
    static final String[] WORDS = {"anchor", "beacon", "compass", "dinghy", "estuary", "fathom", "galley"};

    static String line(int number) {
        int words = WORDS.length;
        return WORDS[number % words] + " " + WORDS[number / words % words] + " " + WORDS[number * number % words];
    }

    static KafkaStreams start(String servers, String protocol, Path state) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream("lines-" + protocol)
            .flatMapValues(value -> Arrays.asList(value.split(" ")))
            .groupBy((key, word) -> word)
            .count()
            .toStream()
            .to("counts-" + protocol, Produced.with(Serdes.String(), Serdes.Long()));
        Properties settings = new Properties();
        settings.put("application.id", "word-count-" + protocol);
        settings.put("bootstrap.servers", servers);
        settings.put("processing.guarantee", "exactly_once_v2");
        settings.put("group.protocol", protocol);
        settings.put("default.key.serde", Serdes.StringSerde.class);
        settings.put("default.value.serde", Serdes.StringSerde.class);
        settings.put("statestore.cache.max.bytes", "0");
        settings.put("commit.interval.ms", "100");
        settings.put("state.dir", state.toString());
        settings.put("consumer.auto.offset.reset", "earliest");
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(problem -> {
            problem.printStackTrace();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        return streams;
    }

    static void produce(String servers, String topic, int from, int to) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", servers);
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int number = from; number < to; number++) {
                producer.send(new ProducerRecord<>(topic, number % PARTITIONS, null, line(number)));
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        String servers = arguments[0], protocol = arguments[1];
        Path state = Path.of(arguments[2]);
        String input = "lines-" + protocol, output = "counts-" + protocol;
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", servers))) {
            List<NewTopic> topics = new ArrayList<>();
            for (String topic : List.of(input, output)) topics.add(new NewTopic(topic, PARTITIONS, (short) 1));
            admin.createTopics(topics).all().get();
        }
        Map<String, Long> wanted = new TreeMap<>();
        for (int number = 0; number < LINES; number++) {
            for (String word : line(number).split(" ")) wanted.merge(word, 1L, Long::sum);
        }
        Properties settings = new Properties();
        settings.put("bootstrap.servers", servers);
        settings.put("group.id", "reader-" + protocol);
        settings.put("auto.offset.reset", "earliest");
        settings.put("isolation.level", "read_committed");
        Map<String, Long> seen = new TreeMap<>();
        produce(servers, input, 0, LINES / 2);
        KafkaStreams streams = start(servers, protocol, state.resolve("first"));
        boolean restarted = false;
        long deadline = System.nanoTime() + Duration.ofSeconds(240).toNanos();
        try (KafkaConsumer<String, Long> reader =
                new KafkaConsumer<>(settings, new StringDeserializer(), new LongDeserializer())) {
            reader.subscribe(List.of(output));
            while (!seen.equals(wanted) && System.nanoTime() < deadline) {
                for (ConsumerRecord<String, Long> record : reader.poll(Duration.ofMillis(200))) {
                    long before = seen.getOrDefault(record.key(), 0L);
                    if (record.value() != before + 1) {
                        throw new IllegalStateException(record.key() + " went from " + before + " to " + record.value());
                    }
                    seen.put(record.key(), record.value());
                }
                if (!restarted && !seen.isEmpty()) {
                    // No time to end in order: a transaction may be open. The new one has to read its state anew.
                    streams.close(Duration.ZERO);
                    produce(servers, input, LINES / 2, LINES);
                    streams = start(servers, protocol, state.resolve("second"));
                    restarted = true;
                }
            }
        }
        streams.close(Duration.ofSeconds(20));
        if (!seen.equals(wanted)) throw new IllegalStateException("counted " + seen + ", not " + wanted);
        System.out.println("counted " + wanted.values().stream().mapToLong(Long::longValue).sum() + " words");
        System.exit(0);
    }
}
