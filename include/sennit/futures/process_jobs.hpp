// The typed jobs of process pools: how a call becomes bytes, and what comes back a result.
#pragma once

#include <sennit/futures/imap_results.hpp>
#include <sennit/futures/thread_pool.hpp>
#include <sennit/multiprocessing/worker_pool.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace sennit::multiprocessing::detail {

/// What a call gives back from another process: a copy.
template <class F, class... Args>
using call_result_t = std::decay_t<std::invoke_result_t<F&, Args...>>;

/// A job with its future, in one allocation. `Read` makes a T of the result's bytes.
template <class T, class Read>
class PoolTask final : public sync::FutureState<T>, public PoolJob {
    using Base = sync::FutureState<T>;

  public:
    PoolTask() : Base(2) {} // the future's and the pool's
    bool begin() noexcept override {
        // Elements of a map that nobody wants any more are left to end: what they do elsewhere is not to be cut in the middle.
        return Read::is_one_call ? Base::start_interruptible() : Base::start();
    }
    void settle(CargoReader& in) noexcept override {
        if (!Base::end()) return; // cancelled meanwhile
        try {
            if constexpr (std::is_void_v<T>)
                Base::emplace();
            else
                Base::emplace(Read()(in));
        } catch (...) {
            Base::set_error(std::current_exception());
        }
        Base::finish();
    }
    void fail(std::exception_ptr error) noexcept override {
        if (!Base::end()) return;
        Base::set_error(std::move(error)); // whose last owner is who looks at it
        Base::finish();
    }
    void cancel() noexcept override {
        if (Base::is_pending() && Base::cancel()) return;
        fail(std::make_exception_ptr(CancelledError("the pool was terminated before this was done")));
        Base::mark_error_seen(); // no mishap: it need not be reported
    }
    void on_interrupted() noexcept override { abandon(*this); }
    void drop() noexcept override { Base::release(); }
};

template <class R>
struct ReadOne {
    static constexpr bool is_one_call = true;
    R operator()(CargoReader& in) const {
        if constexpr (!std::is_void_v<R>) return unpack<R>(in);
    }
};

/// Submits a job whose arguments `fill` packs. What that throws is the job's error; what the pool throws is thrown. `helps`: as
/// WorkerPool::submit().
template <class Task, class Fill>
Task* submit_packed(WorkerPool& pool, Entry entry, Fill&& fill, bool helps = false) {
    auto* const task = new Task;
    task->entry = entry;
    try {
        const PackScratch scratch;
        fill(*scratch);
        task->take_arguments(*scratch);
    } catch (...) {
        if (task->begin()) task->fail(std::current_exception());
        task->drop();
        return task;
    }
    try {
        pool.submit(*task, helps);
    } catch (...) {
        task->cancel();
        task->drop();
        task->release();
        throw;
    }
    return task;
}

template <class R>
using CallTask = PoolTask<R, ReadOne<R>>;

template <class F, class... Args>
CallTask<call_result_t<F, Args...>>* submit_call(WorkerPool& pool, bool helps, const F& f, const Args&... args) {
    return submit_packed<CallTask<call_result_t<F, Args...>>>(
        pool, entry_of<F, Args...>(), [&](CargoWriter& to) { Call<F, Args...>::pack_call(to, f, args...); }, helps);
}

// ---- many calls in one job

/// Some elements and one function for them. Arguments: the function, how many, and the elements, raw where they are.
template <bool star, class F, class E>
struct ManyCalls {
    using R = pool::detail::call_t<star, F, E>;
    using Value = std::decay_t<sync::detail::map_value_t<R>>;
    static constexpr bool raw_elements = raw<E>;
    static constexpr bool raw_results = raw<Value> && !std::is_void_v<R>;

    static void check() {
        static_assert(ShippableFunction<F>, "this function can't travel to another process: give a function, a lambda "
                                            "that captures nothing or only trivially "
                                            "copyable values, or a function object that can be packed. What a lambda "
                                            "captures otherwise (a std::string, say), "
                                            "pass as an argument");
        static_assert(
            Shippable<E>,
            "the elements can't travel to another process: give numbers, strings, containers, plain aggregates, "
            "what cereal serialises, or shared objects; no pointers and no references");
        static_assert(Shippable<Value>,
                      "the result of this function can't travel back from the other process: give back numbers, "
                      "strings, containers, plain aggregates or shared objects; no pointers and no references");
    }

    static void pack_head(CargoWriter& to, const F& f, std::size_t n) {
        check();
        pack_function(to, f);
        to.write_raw(static_cast<std::uint64_t>(n));
        if constexpr (raw_elements) to.align(record_bytes_alignment);
    }
    static constexpr std::size_t record_bytes_alignment = 16;

    /// The results as they are, raw where all went well and they can be; else element by element: 1 and the value, or 0 and the error.
    static void run_raw(CargoReader& in, CargoWriter& out) { run<true>(in, out); }
    static void run_each(CargoReader& in, CargoWriter& out) { run<false>(in, out); }

  private:
    class Elements {
      public:
        explicit Elements(CargoReader& in) : in_(in), left_(in.read_raw<std::uint64_t>()) {
            if constexpr (raw_elements) in.align(record_bytes_alignment);
        }
        [[nodiscard]] std::size_t left() const noexcept { return left_; }
        decltype(auto) apply_next(F& f) {
            --left_;
            E element = unpack<E>(in_);
            return pool::detail::call<star>(f, std::move(element));
        }

      private:
        CargoReader& in_;
        std::size_t left_;
    };
    template <bool may_be_raw>
    static void run(CargoReader& in, CargoWriter& out) {
        F f = unpack_function<F>(in);
        Elements elements(in);
        if constexpr (may_be_raw && raw_results) {
            const std::size_t n = elements.left();
            auto* const room = out.extend(n * sizeof(Value));
            std::size_t i = 0;
            std::exception_ptr error;
            try {
                for (; i < n; ++i) {
                    const Value value = elements.apply_next(f);
                    std::memcpy(room + i * sizeof(Value), &value, sizeof value);
                }
                mark_result_raw();
                return;
            } catch (...) {
                error = std::current_exception();
            }
            const std::vector<std::byte> before(room, room + i * sizeof(Value));
            out.clear();
            for (std::size_t k = 0; k < i; ++k) {
                out.write_raw(std::uint8_t{1});
                out.write(before.data() + k * sizeof(Value), sizeof(Value));
            }
            out.write_raw(std::uint8_t{0});
            pack_exception(out, error);
        }
        while (elements.left() > 0) one(f, elements, out);
    }
    static void one(F& f, Elements& elements, CargoWriter& out) {
        const std::size_t left = elements.left();
        try {
            if constexpr (std::is_void_v<R>) {
                elements.apply_next(f);
                out.write_raw(std::uint8_t{1});
            } else {
                const Value value = elements.apply_next(f);
                out.write_raw(std::uint8_t{1});
                if constexpr (raw<Value>)
                    out.write(&value, sizeof value);
                else
                    pack(out, value);
            }
        } catch (const CargoError&) {
            throw; // the elements are no elements
        } catch (...) {
            if (left == elements.left()) throw;
            out.write_raw(std::uint8_t{0});
            pack_exception(out, std::current_exception());
        }
    }
};

/// Reads what run_each has written: calls value(i, Value&&) or error(i, exception_ptr) for each.
template <class R, class Value, class OnValue, class OnError>
void read_each(CargoReader& in, OnValue&& on_value, OnError&& on_error) {
    while (in.remaining() > 0) {
        const auto ok = in.read_raw<std::uint8_t>();
        if (ok > 1) throw CargoError("a worker's answer makes no sense");
        if (ok == 0) {
            on_error(unpack_exception(in));
        } else if constexpr (std::is_void_v<R>) {
            on_value(Value{});
        } else if constexpr (raw<Value>) {
            on_value(in.read_raw<Value>());
        } else {
            on_value(unpack<Value>(in));
        }
    }
}

template <class R>
struct ReadOutcomes {
    static constexpr bool is_one_call = false;
    Outcomes<R> operator()(CargoReader& in) const {
        using Slot = typename sync::detail::Chunk<R>::Slot;
        Outcomes<R> all;
        read_each<R, sync::detail::map_value_t<R>>(
            in, [&](auto&& value) { all.all.emplace_back().slot.emplace(Slot{std::move(value)}); },
            [&](std::exception_ptr error) { all.all.emplace_back().error = std::move(error); });
        return all;
    }
};
template <class R>
struct ReadChunk {
    static constexpr bool is_one_call = false;
    sync::detail::Chunk<R> operator()(CargoReader& in) const {
        using Slot = typename sync::detail::Chunk<R>::Slot;
        sync::detail::Chunk<R> chunk;
        read_each<R, sync::detail::map_value_t<R>>(
            in,
            [&](auto&& value) {
                if (!chunk.error) chunk.slots.push_back(Slot{std::move(value)});
            },
            [&](std::exception_ptr error) {
                if (!chunk.error) chunk.error = std::move(error);
            });
        return chunk;
    }
};

template <bool star, class F, class E>
void pack_elements(CargoWriter& to, const F& f, const std::vector<E>& elements) {
    ManyCalls<star, F, E>::pack_head(to, f, elements.size());
    if constexpr (raw<E>)
        to.write(elements.data(), elements.size() * sizeof(E));
    else
        for (const E& e : elements) pack(to, e);
}

/// A map in progress: its elements, the results in their places, and its chunks, which are the jobs.
template <bool star, class F, class E>
class ProcessMap : public std::enable_shared_from_this<ProcessMap<star, F, E>> {
    using Many = ManyCalls<star, F, E>;
    using R = std::decay_t<typename Many::R>;
    using Value = typename Many::Value;
    static constexpr bool in_place = Many::raw_results && std::is_default_constructible_v<Value>;
    using Store = std::conditional_t<in_place, Value, std::optional<Value>>;

  public:
    using Result = std::vector<Value>;
    ProcessMap(F f, std::vector<E> elements, AsyncOptions<Result> options,
               std::shared_ptr<pool::detail::Callbacks> callbacks)
        : f_(std::move(f)),
          elements_(std::move(elements)),
          results_(elements_.size()),
          options_(std::move(options)),
          callbacks_(std::move(callbacks)) {}

    sync::Future<Result> start(WorkerPool& pool, std::size_t chunksize) {
        const std::size_t n = elements_.size(), jobs = (n + chunksize - 1) / chunksize;
        left_.store(jobs + 1, memory_order_relaxed); // one for ourselves; the pool's lock orders it
        chunks_ = std::make_unique<Chunk[]>(jobs);
        const sync::Future<Result> future = future_;
        std::size_t i = 0;
        try {
            for (; i < jobs; ++i) {
                const std::size_t begin = i * chunksize, end = std::min(n, begin + chunksize);
                chunks_[i].prepare(*this, begin, end);
                pool.submit(chunks_[i]);
            }
        } catch (...) {
            if (i == 0) throw;
            // The rest can't be submitted: the pool was closed meanwhile.
            for (; i < jobs; ++i) {
                failed(i * chunksize, std::current_exception());
                chunks_[i].drop();
                finish_one();
            }
        }
        finish_one();
        return future;
    }

  private:
    class Chunk final : public PoolJob {
      public:
        void prepare(ProcessMap& map, std::size_t begin, std::size_t end) {
            map_ = map.shared_from_this();
            begin_ = begin;
            end_ = end;
            entry = in_place ? &Many::run_raw : &Many::run_each;
            {
                const PackScratch scratch;
                try {
                    Many::pack_head(*scratch, map.f_, end - begin);
                    if constexpr (!Many::raw_elements)
                        for (std::size_t i = begin; i < end; ++i) pack(*scratch, map.elements_[i]);
                } catch (...) {
                    encode_error_ = std::current_exception();
                }
                take_arguments(*scratch);
            }
            if constexpr (Many::raw_elements)
                bulk = std::as_bytes(std::span(map.elements_).subspan(begin, end - begin));
            if constexpr (in_place)
                target = std::as_writable_bytes(std::span(map.results_).subspan(begin, end - begin));
        }
        bool begin() noexcept override {
            if (!encode_error_) return true;
            map_->failed(begin_, encode_error_);
            map_->finish_one();
            return false;
        }
        void settle(CargoReader& in) noexcept override {
            std::size_t at = begin_;
            if (in_place && in.remaining() == 0) at = end_; // all in its place
            try {
                read_each<R, Value>(
                    in,
                    [&](Value&& value) {
                        if (at == end_)
                            throw CargoError("a worker of a pool gave more results than it was given elements");
                        map_->results_[at++] = std::move(value);
                    },
                    [&](std::exception_ptr error) { map_->failed(at++, std::move(error)); });
                if (at != end_) throw CargoError("a worker of a pool gave fewer results than it was given elements");
            } catch (...) {
                map_->failed(begin_, std::current_exception());
            }
            map_->finish_one();
        }
        void fail(std::exception_ptr error) noexcept override {
            map_->failed(begin_, std::move(error));
            map_->finish_one();
        }
        void cancel() noexcept override {
            map_->cancelled_.store(true, memory_order_relaxed); // left_ orders it
            fail(std::make_exception_ptr(CancelledError("the pool was terminated before this was done")));
        }
        void drop() noexcept override { const auto last = std::move(map_); }

      private:
        std::shared_ptr<ProcessMap> map_;
        std::size_t begin_ = 0, end_ = 0;
        std::exception_ptr encode_error_;
    };

    void failed(std::size_t i, std::exception_ptr error) noexcept {
        os::MutexGuard guard(mutex_);
        if (error_ && first_failed_ <= i) return;
        first_failed_ = i;
        error_.swap(error); // the former dies after the guard
    }
    void finish_one() noexcept {
        // acq_rel: the last one sees what all have stored.
        if (left_.fetch_sub(1, memory_order_acq_rel) != 1) return;
        try {
            if (error_) {
                if (options_.error_callback) callbacks_->run([this] { options_.error_callback(error_); });
                future_.set_exception(std::move(error_));
                if (cancelled_.load(memory_order_relaxed)) future_.core().mark_error_seen();
            } else {
                Result all;
                if constexpr (in_place) {
                    all = std::move(results_);
                } else {
                    all.reserve(results_.size());
                    for (auto& one : results_) all.push_back(std::move(*one));
                }
                if (options_.callback) callbacks_->run([&] { options_.callback(all); });
                future_.set_result(std::move(all));
            }
        } catch (...) {
            // Somebody cancelled the future, or there is no memory for the results.
            if (!future_.done()) future_.set_exception(std::current_exception());
        }
    }

    F f_;
    std::vector<E> elements_;
    std::vector<Store> results_;
    AsyncOptions<Result> options_;
    std::shared_ptr<pool::detail::Callbacks> callbacks_;
    sync::Future<Result> future_;
    std::unique_ptr<Chunk[]> chunks_;
    atomic<std::size_t> left_{0};
    os::Mutex mutex_;
    std::exception_ptr error_; // under mutex_ until all are done
    std::size_t first_failed_ = 0;
    atomic<bool> cancelled_{false};
};

/// The elements of a range as the jobs take them.
template <class A>
using element_of = Shipped<std::ranges::range_value_t<A>>;

template <class R, class F, class View>
class ProcessImapSource final : public ImapResults<R>::Source {
    using E = element_of<View>;
    using Task = PoolTask<Outcomes<R>, ReadOutcomes<R>>;

  public:
    ProcessImapSource(std::shared_ptr<WorkerPool> pool, F f, View view, std::size_t chunksize)
        : pool_(std::move(pool)),
          f_(std::move(f)),
          view_(std::move(view)),
          chunksize_(chunksize),
          at_(std::ranges::begin(view_)) {}
    std::optional<sync::Future<Outcomes<R>>> submit() override {
        if (thrown_) std::rethrow_exception(thrown_);
        std::vector<E> elements;
        try {
            while (elements.size() < chunksize_) {
                if (started_) ++at_;
                started_ = false;
                if (at_ == std::ranges::end(view_)) break;
                started_ = true;
                elements.emplace_back(*at_);
            }
        } catch (...) {
            thrown_ = std::current_exception();
            if (elements.empty()) throw;
        }
        if (elements.empty()) return std::nullopt;
        auto* const task = submit_packed<Task>(*pool_, &ManyCalls<false, F, E>::run_each,
                                               [&](CargoWriter& to) { pack_elements<false>(to, f_, elements); });
        return sync::Future<Outcomes<R>>(static_cast<sync::FutureState<Outcomes<R>>*>(task));
    }

  private:
    std::shared_ptr<WorkerPool> pool_;
    F f_;
    View view_;
    std::size_t chunksize_;
    std::ranges::iterator_t<View> at_;
    bool started_ = false;
    std::exception_ptr thrown_;
};

} // namespace sennit::multiprocessing::detail
