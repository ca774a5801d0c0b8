// Streams and events: which work is ordered before which. Work is done at once, so only the order that a GPU would be
// free to change is recorded; `use` in memory.cpp asks for it.
#include "simulation.h"

namespace {
std::map<int, Stream *> streams;
u64 now = 0;
thread_local Stream *of_thread = nullptr;

Stream *legacy() {
    static Stream *stream = make_stream(true);
    return stream;
}
void see(Stream *stream, int other, u64 time) {
    u64 &seen = stream->seen[other];
    seen = std::max(seen, time);
}

// A mark in a stream: what the stream had done, and what it had waited for itself.
struct Event {
    Stream *stream = nullptr;
    u64 time = 0;
    std::map<int, u64> seen;
};

void wait_until(Stream *stream, u64 time, const std::map<int, u64> &seen, const char *why) {
    count(why);
    count(time > stream->done ? "waits" : "idle_waits");
    stream->done = std::max(stream->done, time);
    // What the stream itself has waited for is done as well.
    for (const auto &[id, until] : seen) streams[id]->done = std::max(streams[id]->done, until);
    trim_pool();
}
}  // namespace

Stream *make_stream(bool blocking) {
    LOCK;
    static int next = 1;
    Stream *stream = new Stream{next++, blocking};
    return streams[stream->id] = stream;
}

// Handle 0 is the legacy default stream, 1 its explicit name, 2 (CU_STREAM_PER_THREAD) another stream for every thread.
Stream *stream_of(void *handle) {
    LOCK;
    if ((u64)handle <= 1) return legacy();
    if ((u64)handle == 2) return of_thread ? of_thread : of_thread = make_stream(true);
    Stream *stream = (Stream *)handle;
    if (stream->destroyed) fail("stream %d is used after it was destroyed", stream->id);
    return stream;
}

Use work(Stream *stream, const char *what) {
    stream->last = ++now;
    return {stream->id, now, what};
}

bool ordered(const Use &before, Stream *stream) {
    if (!before.time || before.stream == stream->id) return true;
    const Stream *other = streams[before.stream];
    if (other->done >= before.time) return true;
    // The legacy default stream waits for every blocking stream, and they for it.
    if ((other == legacy() && stream->blocking) || (stream == legacy() && other->blocking)) return true;
    const auto seen = stream->seen.find(before.stream);
    return seen != stream->seen.end() && seen->second >= before.time;
}

void wait_for(Stream *stream, const char *why) { wait_until(stream, stream->last, stream->seen, why); }

void wait_for_all() {
    bool busy = false;
    for (const auto &[id, stream] : streams) {
        busy |= stream->last > stream->done;
        stream->done = stream->last;
    }
    count("context_synchronise");
    count(busy ? "waits" : "idle_waits");
    trim_pool();
}

API CUresult cuStreamCreate(void **stream, unsigned flags) {
    NEED_CONTEXT;
    LOCK;
    count("streams");
    *stream = make_stream(!(flags & 1));
    return SUCCESS;
}
API CUresult cuStreamDestroy_v2(void *handle) {
    LOCK;
    stream_of(handle)->destroyed = true;
    return SUCCESS;
}
API CUresult cuStreamSynchronize(void *handle) {
    NEED_CONTEXT;
    LOCK;
    Stream *stream = stream_of(handle);
    wait_for(stream, "stream_synchronise");
    return SUCCESS;
}
// Answers as a GPU might that is not yet done with anything that the host has not waited for.
API CUresult cuStreamQuery(void *handle) {
    LOCK;
    const Stream *stream = stream_of(handle);
    return stream->last > stream->done ? NOT_READY : SUCCESS;
}
API CUresult cuStreamIsCapturing(void *, int *status) {
    *status = 0;
    return SUCCESS;
}

API CUresult cuEventCreate(void **event, unsigned) {
    NEED_CONTEXT;
    LOCK;
    count("events_created");
    *event = new Event;
    return SUCCESS;
}
API CUresult cuEventDestroy_v2(void *event) {
    LOCK;
    delete (Event *)event;
    return SUCCESS;
}
API CUresult cuEventRecord(void *event, void *handle) {
    NEED_CONTEXT;
    LOCK;
    count("events_recorded");
    Stream *stream = stream_of(handle);
    *(Event *)event = {stream, stream->last, stream->seen};
    return SUCCESS;
}
API CUresult cuEventSynchronize(void *handle) {
    LOCK;
    const Event *event = (Event *)handle;
    if (event->stream) wait_until(event->stream, event->time, event->seen, "event_synchronise");
    return SUCCESS;
}
API CUresult cuEventQuery(void *handle) {
    LOCK;
    const Event *event = (Event *)handle;
    return event->stream && event->time > event->stream->done ? NOT_READY : SUCCESS;
}
// There is no time on this device: every pair of events is a millisecond apart.
API CUresult cuEventElapsedTime(float *milliseconds, void *, void *) {
    *milliseconds = 1.0f;
    return SUCCESS;
}
API CUresult cuEventElapsedTime_v2(float *milliseconds, void *from, void *to) {
    return cuEventElapsedTime(milliseconds, from, to);
}
API CUresult cuStreamWaitEvent(void *handle, void *at, unsigned) {
    NEED_CONTEXT;
    LOCK;
    count("event_waits");
    Stream *stream = stream_of(handle);
    const Event *event = (Event *)at;
    if (!event->stream) return SUCCESS;
    see(stream, event->stream->id, event->time);
    for (const auto &[id, time] : event->seen) see(stream, id, time);
    return SUCCESS;
}
