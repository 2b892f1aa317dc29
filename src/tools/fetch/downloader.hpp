#pragma once

#include "tools/fetch/address.hpp"
#include "tools/fetch/answer.hpp"
#include "tools/fetch/checksums.hpp"
#include "tools/fetch/curl_session.hpp"
#include "tools/fetch/file_name.hpp"
#include "tools/fetch/finisher.hpp"
#include "tools/fetch/options.hpp"
#include "tools/fetch/part_file.hpp"
#include "tools/fetch/rate_limit.hpp"
#include "tools/fetch/report.hpp"
#include "tools/fetch/url_source.hpp"

#include <sennit/loop/event_loop.hpp>

#include <cstdint>
#include <curl/curl.h>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace sennit::tools {

/// Runs a whole `sennit fetch`: takes URLs, starts as many downloads as may run, tries again what failed, hands whole files to
/// the Finisher, and tells the report. One event loop does it all; the head of downloader.cpp tells how.
class Downloader final : public CurlSession::Listener {
  public:
    /// Throws UsageError, OSError.
    explicit Downloader(FetchOptions options);
    ~Downloader();

    /// To the end. The exit status.
    int run();

  private:
    // A host that downloads wait for.
    struct Download;
    struct Host {
        std::string name;
        std::deque<Download*> waiting;
        unsigned running = 0;
        bool known = false;   // its name has been resolved
        bool in_turn = false; // it is in turns_
    };
    // One file, from its URL to its end.
    struct Download {
        Download(TargetFolder& folder, std::uint64_t n, Address a, std::string file)
            : number(n), address(std::move(a)), target(address), part(folder, std::move(file), address.url) {}
        std::uint64_t number;
        Address address, target; // as given, and where redirects lead
        PartFile part;
        const std::string* sha256 = nullptr;
        std::string final_name; // of Content-Disposition; empty: the part's
        unsigned attempts = 0, restarts = 0, redirects = 0;
        bool following = false; // the next request belongs to the same attempt
        bool again = false;     // not from where it is, but from the beginning
        bool checked_there = false;
        int status = 0;
        std::int64_t fetched = 0, resumed_from = 0;
        std::int64_t start_ns = 0, start_wall_ms = 0, attempt_start_ns = 0;
        std::int64_t attempt_bytes = 0;
        loop::TimerHandle retry;
    };
    // One request, in one of the lanes; the handle is used again and again.
    struct Transfer {
        enum class Body : std::uint8_t { none, keep, discard };
        Downloader* owner = nullptr;
        CURL* easy = nullptr;
        unsigned lane = 0;
        Download* download = nullptr; // null: free
        Host* host = nullptr;
        Answer answer;
        curl_slist* headers = nullptr;
        Body body = Body::none;
        bool body_begun = false, paused = false;
        bool undescribed = false; // the part is not told yet what of the answer --resume would need
        bool again = false;       // the rest can't be had: from the beginning
        bool retryable = false;   // of problem
        std::string problem, redirect;
        std::int64_t retry_after_s = -1;
        int disk_error = 0;
        std::int64_t range_from = 0, expected = -1, discarded = 0, last_activity_ns = 0;
        char error[CURL_ERROR_SIZE] = {};
    };

    // ---- getting downloads
    void read_urls();
    void make_downloads();
    void make_download(std::string url, std::uint64_t number);
    void refuse(std::uint64_t number, std::string_view url, std::string_view path, std::string_view why);
    [[nodiscard]] std::optional<std::uint64_t> total() const;
    void print_plan();

    // ---- starting them
    Host& host_of(const Address& address);
    void enqueue(Download& d, bool first);
    void offer(Host& host);
    [[nodiscard]] bool has_room(const Host& host) const;
    void schedule();
    void schedule_soon();
    bool settle_what_is_there(Download& d);
    void start(Download& d, Host& host);
    void set_headers(Transfer& t);
    Transfer& free_lane();

    // ---- while they run: called by libcurl
    static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* transfer) noexcept;
    static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* transfer) noexcept;
    static curl_socket_t on_open(void* transfer, curlsocktype purpose, curl_sockaddr* address) noexcept;
    bool head_ended(Transfer& t);
    bool accept_whole(Transfer& t);
    static void describe(Transfer& t);
    bool accept_rest(Transfer& t);
    bool follow(Transfer& t);
    void resume_paused();
    void tick();
    void draw();

    // ---- when they end
    void transfer_ended(CURL* easy, CURLcode code) override;
    void conclude(Transfer& t, CURLcode code);
    void release(Transfer& t);
    void row(const Transfer& t, std::string_view outcome, bool tried_again);
    void whole(Download& d);
    void put_to_finish(Finisher::Job job);
    void finish_those();
    void finished(std::vector<Finisher::Result>& results);
    void failed_attempt(Transfer& t, std::string why, bool may_retry, std::int64_t after_s);
    void failed(Download& d, std::string why);
    void succeeded(Download& d, std::string_view sha256, bool skipped);
    void report(const Download& d, bool ok, bool skipped, std::string_view sha256, std::string_view error);
    void forget(Download& d);
    void look_for_end();
    void end_early(std::string why, int exit_status);

    FetchOptions options_;
    std::optional<TargetFolder> folder_;
    Checksums checksums_;
    FetchReport report_;
    UrlSource source_;
    FileNames names_;
    RateLimit rate_;
    std::mt19937 random_;

    loop::EventLoop loop_;
    std::optional<CurlSession> session_;
    std::optional<Finisher> finisher_;
    std::size_t finishing_limit_ = 0, finishing_ = 0; // to_finish_ included
    std::vector<Finisher::Job> to_finish_;            // not put in yet
    loop::TimerHandle finish_timer_;

    std::deque<std::string> urls_; // read and not yet made into downloads
    std::size_t urls_bytes_ = 0;
    std::uint64_t urls_read_ = 0, made_ = 0;
    bool source_ended_ = false, source_waits_ = false;

    std::unordered_map<std::uint64_t, std::unique_ptr<Download>> downloads_;
    std::unordered_map<std::string, Host> hosts_;
    std::deque<Host*> turns_; // hosts that have somebody waiting and room for him
    std::size_t waiting_ = 0; // in the hosts' queues

    std::vector<std::unique_ptr<Transfer>> lanes_;
    std::set<unsigned> free_lanes_;
    std::size_t running_ = 0;
    std::deque<Transfer*> paused_;
    loop::TimerHandle rate_timer_;
    bool rate_timer_set_ = false, scheduled_ = false, scheduling_ = false;

    std::int64_t start_ns_ = 0, start_wall_ms_ = 0, fetched_ = 0;
    std::string ended_why_;
    int exit_status_ = 0; // when it ended early
    bool ending_ = false;
    std::size_t kept_ = 0;
    std::exception_ptr fatal_;
};

} // namespace sennit::tools
