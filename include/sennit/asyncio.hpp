// Python's asyncio: coroutines, tasks, and an event loop.
#pragma once

#include <sennit/asyncio/as_completed.hpp>
#include <sennit/asyncio/async_generator.hpp>
#include <sennit/asyncio/async_ranges.hpp>
#include <sennit/asyncio/coro.hpp>
#include <sennit/asyncio/ensure_task.hpp>
#include <sennit/asyncio/gather.hpp>
#include <sennit/asyncio/loop_executor.hpp>
#include <sennit/asyncio/primitives.hpp>
#include <sennit/asyncio/run_coroutine_threadsafe.hpp>
#include <sennit/asyncio/runner.hpp>
#include <sennit/asyncio/shield.hpp>
#include <sennit/asyncio/sleep.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/asyncio/task_group.hpp>
#include <sennit/asyncio/timeout.hpp>
#include <sennit/asyncio/to_thread.hpp>
#include <sennit/asyncio/wait.hpp>
#include <sennit/asyncio/wait_for.hpp>
