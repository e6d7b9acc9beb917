// For tests: COLONY_SANITIZED is defined where a sanitizer owns the heap, so that counts of bytes mean nothing.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COLONY_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COLONY_SANITIZED 1
#endif
#endif
