import java.io.*;
import java.net.*;
import java.nio.*;
import java.nio.channels.*;
import java.nio.file.*;
import java.nio.file.attribute.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;

/** Files, locks, children, threads and sockets of Java's. */
public class Program {
    interface Action { void run() throws Exception; }

    static void fails(String what, Action a) {
        try { a.run(); System.out.println(what + ": worked"); } catch (Exception e) { System.out.println(what + ": " + e.getClass().getSimpleName()); }
    }

    public static void main(String[] args) throws Exception {
        System.out.println("arguments " + args.length);
        if (args.length > 0) { System.exit(4); }
        Path dir = Files.createDirectories(Path.of("made/by/java"));
        ExecutorService pool = Executors.newFixedThreadPool(8);
        List<Future<Integer>> all = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            int n = i;
            all.add(pool.submit(() -> { Path p = dir.resolve("f" + n); Files.writeString(p, "x".repeat(n)); return Files.readString(p).length(); }));
        }
        int sum = 0;
        for (Future<Integer> f : all) { sum += f.get(); }
        pool.shutdown();
        System.out.println("sum " + sum);
        try (Stream<Path> s = Files.walk(Path.of("made"))) { System.out.println("walked " + s.count()); }
        fails("missing", () -> Files.readString(Path.of("no/such")));
        fails("exclusive", () -> Files.newByteChannel(dir.resolve("f1"), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE));
        fails("directory", () -> Files.writeString(dir, ""));
        fails("stream of a directory", () -> new FileInputStream("made"));
        Path mode = Files.createFile(Path.of("mode"), PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-r-----")));
        System.out.println(PosixFilePermissions.toString(Files.getPosixFilePermissions(mode)));
        try (FileChannel c = FileChannel.open(Path.of("mapped"), StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE); FileLock l = c.lock()) {
            MappedByteBuffer b = c.map(FileChannel.MapMode.READ_WRITE, 0, 4096);
            b.put("mapped".getBytes());
            System.out.println("locked " + l.isValid() + " " + c.size());
        }
        Path temp = Files.createTempFile("x", ".tmp");
        Files.move(temp, Path.of("moved"), StandardCopyOption.ATOMIC_MOVE);
        Files.createSymbolicLink(Path.of("link"), Path.of("moved"));
        fails("nofollow", () -> Files.newByteChannel(Path.of("link"), LinkOption.NOFOLLOW_LINKS));
        Process p = new ProcessBuilder("sh", "-c", "cat; exit 6").redirectErrorStream(true).start();
        try (OutputStream o = p.getOutputStream()) { o.write("child\n".getBytes()); }
        System.out.print(new String(p.getInputStream().readAllBytes()));
        System.out.println("exit " + p.waitFor());
        System.out.println("to a file " + new ProcessBuilder("sh", "-c", "echo redirected").redirectOutput(new File("redirected")).start().waitFor());
        fails("no program", () -> new ProcessBuilder("/no/such").start());
        try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            UnixDomainSocketAddress at = UnixDomainSocketAddress.of("sock");
            server.bind(at);
            Thread t = new Thread(() -> { try (SocketChannel c = SocketChannel.open(at)) { c.write(ByteBuffer.wrap("hello".getBytes())); } catch (IOException e) { System.out.println(e); } });
            t.start();
            ByteBuffer b = ByteBuffer.allocate(10);
            try (SocketChannel c = server.accept()) { System.out.println("socket " + c.read(b)); }
            t.join();
        }
        fails("connect", () -> new Socket("127.0.0.1", 1));
        try (ServerSocket s = new ServerSocket(0, 1, InetAddress.getLoopbackAddress()); Socket c = new Socket(InetAddress.getLoopbackAddress(), s.getLocalPort()); Socket a = s.accept()) {
            System.out.println("connected " + a.isConnected());
        }
        System.exit(3);
    }
}
