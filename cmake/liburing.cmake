# liburing, which os/ring.cpp stands on.
find_path(SENNIT_LIBURING_INCLUDE_DIR liburing.h)
find_library(SENNIT_LIBURING uring)
mark_as_advanced(SENNIT_LIBURING_INCLUDE_DIR SENNIT_LIBURING)
if(NOT SENNIT_LIBURING_INCLUDE_DIR OR NOT SENNIT_LIBURING)
  message(FATAL_ERROR "liburing is not installed. Install it (Debian: apt install liburing-dev), or configure with -DSENNIT_IO_URING=OFF: "
                      "event loops then use epoll.")
endif()
