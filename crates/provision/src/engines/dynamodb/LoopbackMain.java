import com.almworks.sqlite4java.SQLiteConnection;
import com.almworks.sqlite4java.SQLiteJob;
import com.almworks.sqlite4java.SQLiteQueue;
import java.io.InputStream;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import org.eclipse.jetty.server.Connector;
import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.server.SslConnectionFactory;
import org.eclipse.jetty.util.ssl.SslContextFactory;
import software.amazon.dynamodb.services.local.main.ServerRunner;
import software.amazon.dynamodb.services.local.server.DynamoDBProxyServer;

/**
 * Starts DynamoDB Local on one address: it has no option for that, listens on all of them, and asks nobody for a password.
 * The address and, where it is to encrypt on a port of its own, that port and its files are system properties.
 */
public class LoopbackMain {
    public static void main(String[] arguments) throws Exception {
        String address = System.getProperty("storelab.address", "127.0.0.1");
        DynamoDBProxyServer proxy = ServerRunner.createServerFromCommandLineArgs(arguments);
        Server server = (Server) field(proxy, "server");
        for (Connector connector : server.getConnectors()) {
            ((ServerConnector) connector).setHost(address);
        }
        String port = System.getProperty("storelab.tls-port");
        if (port != null) {
            ServerConnector encrypted = new ServerConnector(
                    server,
                    new SslConnectionFactory(encryption(), "http/1.1"),
                    new HttpConnectionFactory(new HttpConfiguration()));
            encrypted.setHost(address);
            encrypted.setPort(Integer.parseInt(port));
            server.addConnector(encrypted);
        }
        relax(field(field(proxy, "serverHandler"), "primaryHandler"));
        proxy.start();
        proxy.join();
    }

    /**
     * Has SQLite write ahead and leave it to the system when that reaches the disk. Data outlives the process as before, and
     * a throw-away server need not outlive a loss of power: otherwise each item written waits several times for the disk.
     */
    private static void relax(Object handler) throws Exception {
        Method clientOf = handler.getClass().getDeclaredMethod("getHandler", String.class);
        clientOf.setAccessible(true);
        SQLiteQueue queue = (SQLiteQueue) field(field(clientOf.invoke(handler, "storelab"), "dbAccess"), "queue");
        SQLiteJob<Void> pragmas = new SQLiteJob<>() {
            @Override
            protected Void job(SQLiteConnection connection) throws Exception {
                connection.exec("PRAGMA journal_mode = WAL");
                connection.exec("PRAGMA synchronous = NORMAL");
                return null;
            }
        };
        queue.execute(pragmas).get();
    }

    /** The value of a field that nobody is shown otherwise. */
    private static Object field(Object object, String name) throws Exception {
        for (Class<?> kind = object.getClass(); kind != null; kind = kind.getSuperclass()) {
            for (Field field : kind.getDeclaredFields()) {
                if (field.getName().equals(name)) {
                    field.setAccessible(true);
                    return field.get(object);
                }
            }
        }
        throw new NoSuchFieldException(name);
    }

    private static SslContextFactory.Server encryption() throws Exception {
        Certificate certificate;
        try (InputStream input = Files.newInputStream(Path.of(System.getProperty("storelab.tls-cert-file")))) {
            certificate = CertificateFactory.getInstance("X.509").generateCertificate(input);
        }
        String key = Files.readString(Path.of(System.getProperty("storelab.tls-key-file")));
        byte[] bytes = Base64.getMimeDecoder().decode(key.replaceAll("-----[A-Z ]+-----", ""));
        KeyFactory factory = KeyFactory.getInstance(certificate.getPublicKey().getAlgorithm());
        // It never leaves this process's memory.
        char[] password = "storelab".toCharArray();
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        Certificate[] chain = {certificate};
        store.setKeyEntry("server", factory.generatePrivate(new PKCS8EncodedKeySpec(bytes)), password, chain);
        SslContextFactory.Server encryption = new SslContextFactory.Server();
        encryption.setKeyStore(store);
        encryption.setKeyStorePassword("storelab");
        return encryption;
    }
}
