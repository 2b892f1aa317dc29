// Every primitive of sync/, each written once for threads, green threads and coroutines. The umbrella headers of the Python
// modules (threading.hpp, queue.hpp, ...) give them their Python names.
#pragma once

#include <sennit/sync/barrier.hpp>
#include <sennit/sync/condition.hpp>
#include <sennit/sync/event.hpp>
#include <sennit/sync/lock.hpp>
#include <sennit/sync/rlock.hpp>
#include <sennit/sync/semaphore.hpp>
