import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import java.math.BigDecimal;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The benchmark's hop in Kafka Streams: decode, check, count per account, produce.
 *
 * The processor API, a persistent store (RocksDB) with caching and a changelog topic, at least
 * once, one stream thread. Kafka Streams' defaults otherwise: its producer is idempotent with
 * acks of all replicas. The job is that of benchmarks/job.py.
 */
public final class Hop {
  static final BigDecimal LIMIT = new BigDecimal(40_000);
  static final String STORE = "totals";
  static final ObjectMapper MAPPER = new ObjectMapper();

  /** An order; the hop sets the last three. Decimals are JSON strings. */
  public static final class Order {
    @JsonProperty("schema_version") public int schemaVersion = 1;
    @JsonProperty("order_id") public String orderId;
    public String account;
    public String symbol;
    public String side;
    public String type;
    public BigDecimal qty;
    @JsonProperty("limit_price") public BigDecimal limitPrice;
    @JsonProperty("ts_event_ns") public long tsEventNs;
    public String status = "new";
    public long count;
    public BigDecimal notional = BigDecimal.ZERO;
  }

  /** What an account's accepted orders add up to. */
  public static final class Totals {
    public String kind = "totals";
    @JsonProperty("schema_version") public int schemaVersion = 1;
    public long count;
    public BigDecimal notional = BigDecimal.ZERO;
  }

  static <T> Serde<T> json(Class<T> kind) {
    ObjectReader reader = MAPPER.readerFor(kind);
    ObjectWriter writer = MAPPER.writerFor(kind);
    return Serdes.serdeFrom(
        (topic, value) -> {
          try {
            return value == null ? null : writer.writeValueAsBytes(value);
          } catch (Exception error) {
            throw new IllegalStateException(error);
          }
        },
        (topic, raw) -> {
          try {
            return raw == null ? null : reader.readValue(raw);
          } catch (Exception error) {
            throw new IllegalStateException(error);
          }
        });
  }

  /** One hop of the job. */
  static final class Count implements Processor<String, Order, String, Order> {
    private ProcessorContext<String, Order> context;
    private KeyValueStore<String, Totals> store;

    @Override
    public void init(ProcessorContext<String, Order> context) {
      this.context = context;
      this.store = context.getStateStore(STORE);
    }

    @Override
    public void process(Record<String, Order> record) {
      Order order = record.value();
      Totals known = store.get(order.account);
      Totals totals = known == null ? new Totals() : known;
      BigDecimal worth = order.qty.multiply(order.limitPrice);
      if (worth.signum() > 0 && worth.compareTo(LIMIT) <= 0) {
        totals.count += 1;
        totals.notional = totals.notional.add(worth);
        store.put(order.account, totals);
        order.status = "accepted";
      } else {
        order.status = "refused";
      }
      order.count = totals.count;
      order.notional = totals.notional;
      context.forward(record);
    }
  }

  public static void main(String[] arguments) throws Exception {
    MAPPER.configOverride(BigDecimal.class)
        .setFormat(com.fasterxml.jackson.annotation.JsonFormat.Value.forShape(
            com.fasterxml.jackson.annotation.JsonFormat.Shape.STRING));
    JsonNode chain = MAPPER.readTree(System.getenv("ORDERFLOW_BENCH_CHAIN"));
    String source = chain.get("topics").get(0).asText();
    String target = chain.get("topics").get(1).asText();

    Properties config = new Properties();
    config.put(StreamsConfig.APPLICATION_ID_CONFIG, chain.get("group").asText());
    config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, chain.get("bootstrap").asText());
    config.put(StreamsConfig.STATE_DIR_CONFIG, chain.get("folder").asText());
    config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.AT_LEAST_ONCE);
    config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
    config.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    config.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");

    Serde<Order> orders = json(Order.class);
    Deserializer<String> keys = Serdes.String().deserializer();
    Topology topology = new Topology();
    topology.addSource("in", keys, orders.deserializer(), source);
    topology.addProcessor("count", Count::new, "in");
    topology.addStateStore(
        Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore(STORE), Serdes.String(), json(Totals.class))
            .withCachingEnabled(),
        "count");
    topology.addSink("out", target, Serdes.String().serializer(), orders.serializer(), "count");

    KafkaStreams streams = new KafkaStreams(topology, config);
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
  }
}
