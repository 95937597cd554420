/* A blob handed to libzmq comes back on its I/O thread. libzmq is not instrumented, so under ThreadSanitizer
 * the hand-over is told here; in other builds these are nothing. */
#ifndef TRIB_NET_TSAN_H
#define TRIB_NET_TSAN_H

#if defined(__SANITIZE_THREAD__)
#define TRIB_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TRIB_TSAN 1
#endif
#endif

#ifdef TRIB_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define TRIB_TSAN_ACQUIRE(address) __tsan_acquire(address)
#define TRIB_TSAN_RELEASE(address) __tsan_release(address)
#else
#define TRIB_TSAN_ACQUIRE(address) ((void)(address))
#define TRIB_TSAN_RELEASE(address) ((void)(address))
#endif

#endif
