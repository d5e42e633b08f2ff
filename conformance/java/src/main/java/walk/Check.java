package walk;

import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;

/** What is expected of an answer. */
final class Check {
    private Check() {}

    static void that(boolean holds, Object got) {
        if (!holds) {
            throw new AssertionError("got " + got);
        }
    }

    static void equal(Object got, Object want) {
        if (!Objects.equals(got, want)) {
            throw new AssertionError("got " + got + ", want " + want);
        }
    }

    static void contains(String got, String want) {
        if (got == null || !got.contains(want)) {
            throw new AssertionError("got " + got + ", want …" + want + "…");
        }
    }

    /** Returns the exception of the type that the call ends with. */
    static <E extends Exception> E refused(Class<E> type, Callable<?> call) throws Exception {
        Object answer;
        try {
            answer = call.call();
        } catch (Exception e) {
            // A future wraps what went wrong.
            Throwable cause = e instanceof ExecutionException ? e.getCause() : e;
            if (type.isInstance(cause)) {
                return type.cast(cause);
            }
            throw e;
        }
        throw new AssertionError("got " + answer + ", want " + type.getSimpleName());
    }
}
