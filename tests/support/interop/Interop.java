import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Writes as any Java program would: the partition is the default partitioner's.
 *
 * Arguments: bootstrap, topic, transactional id. Standard input: a key per line. Each gets a record
 * with a header and one without a value, in one transaction; then the same in one that is aborted.
 * Prints for each committed record: key, partition, offset; tabs between.
 */
public class Interop {
    public static void main(String[] arguments) throws Exception {
        List<String> keys = new BufferedReader(
            new InputStreamReader(System.in, StandardCharsets.UTF_8)).lines().toList();
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", arguments[0],
            "transactional.id", arguments[2],
            "compression.type", "zstd");
        StringSerializer text = new StringSerializer();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings, text, text)) {
            producer.initTransactions();
            producer.beginTransaction();
            List<Future<RecordMetadata>> sent = send(producer, arguments[1], keys, "committed");
            producer.commitTransaction();
            for (int i = 0; i < sent.size(); i++) {
                RecordMetadata found = sent.get(i).get();
                System.out.println(keys.get(i / 2) + "\t" + found.partition() + "\t" + found.offset());
            }
            producer.beginTransaction();
            send(producer, arguments[1], keys, "aborted");
            producer.flush();
            producer.abortTransaction();
        }
    }

    private static List<Future<RecordMetadata>> send(
            KafkaProducer<String, String> producer, String topic, List<String> keys, String what) {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (String key : keys) {
            ProducerRecord<String, String> record =
                new ProducerRecord<>(topic, key, "{\"what\":\"" + what + "\"}");
            record.headers().add("reason", what.getBytes(StandardCharsets.UTF_8));
            sent.add(producer.send(record));
            sent.add(producer.send(new ProducerRecord<>(topic, key, null)));
        }
        return sent;
    }
}
