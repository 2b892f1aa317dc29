// The life of one download.
//
//   URL read → named → waits for its host's turn → a request in a lane ─┬→ whole → Finisher: hash, sync, name → reported
//                            ↑        ↑                                 ├→ a redirect: the next request of the attempt
//                            │        └─────────────────────────────────┤
//                            └── after a while ← may help ← failed ─────┴→ else kept for --resume or removed, and reported
//
// Everything is on the loop's thread, but for the Finisher's work. libcurl's callbacks only note what they see (in the Transfer)
// and say whether to go on; what follows from it is done when libcurl has given the handle back (conclude), because
// libcurl's functions must not be called from inside its callbacks.
//
// A file's bytes are those of one version of it, or it does not appear (see accept_rest): what is there is gone on with only if
// the server says 206, with exactly the range that was asked for, of a file of exactly that length, under the same strong
// validator. In all other cases it starts again.
#include "tools/fetch/downloader.hpp"

#include "tools/common/quoting.hpp"
#include "tools/common/units.hpp"
#include "tools/fetch/content_range.hpp"

#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/os/cpu_count.hpp>
#include <sennit/os/file.hpp>
#include <sennit/os/signals.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <system_error>
#include <utility>

namespace sennit::tools {
namespace {

using base::monotonic_ns;

constexpr std::int64_t ms = 1'000'000, second = 1'000 * ms;
constexpr unsigned most_redirects = 10, most_restarts = 3;
constexpr std::int64_t most_discarded = 64 * 1024; // of the body of an answer that is of no use
constexpr std::int64_t longest_back_off = 60 * second;
constexpr std::int64_t longest_retry_after_s = 15 * 60;
constexpr std::size_t most_urls_bytes = 16 * 1024 * 1024; // read ahead
constexpr std::size_t most_hosts = 10'000;                // remembered
const std::string untrusted = "the server's certificate is not to be trusted, nothing was fetched: ";
constexpr long receive_bytes = 128 * 1024;
constexpr std::size_t finish_together = 64;
constexpr std::int64_t longest_gathering = 10 * ms;

std::string message(int error) { return std::system_category().message(error); }

std::int64_t wall_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

bool is_retryable_status(int status) {
    return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

bool is_redirect(int status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool is_retryable(CURLcode code) {
    switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return true;
    default:
        return false;
    }
}

// Headers that say nothing about who sends them.
bool may_go_to_others(std::string_view header) {
    static constexpr std::array<std::string_view, 4> plain{"accept:", "accept-language:", "cache-control:", "pragma:"};
    return std::any_of(plain.begin(), plain.end(), [&](std::string_view name) {
        return header.size() >= name.size() && std::equal(name.begin(), name.end(), header.begin(), [](char a, char b) {
                   return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b);
               });
    });
}

std::string disk_sentence(int error, const std::string& path) {
    if (error == PartFile::in_use) return "another process is fetching into " + path;
    if (error == ENOSPC) return "the disk is full: there is no room for " + path;
    if (error == EDQUOT) return "the disk quota is used up: there is no room for " + path;
    if (error == EFBIG)
        return path + " would be larger than this process may write (ulimit -f) or the file system can hold";
    if (error == ELOOP) return path + " is a symbolic link; it is not followed";
    if (error == EEXIST) return path + " is there and is no file of an unfinished download";
    return "cannot write " + path + ": " + message(error);
}

// What libcurl gives: the code says what, its text says more.
std::string curl_sentence(CURLcode code, const char* detail, const Address& target) {
    const std::string more = *detail != '\0' ? for_terminal(detail, 200) : std::string(::curl_easy_strerror(code));
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return "the name of the host " + for_terminal(target.host, 100) + " cannot be resolved";
    case CURLE_PEER_FAILED_VERIFICATION:
        return untrusted + more;
    case CURLE_SSL_CACERT_BADFILE:
        return "the authorities to trust cannot be read: " + more;
    case CURLE_OPERATION_TIMEDOUT:
        return "it took too long: " + more;
    case CURLE_PARTIAL_FILE:
        return "the answer ended before its end: " + more;
    case CURLE_GOT_NOTHING:
        return "the server closed the connection without an answer";
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return "the connection broke: " + more;
    case CURLE_COULDNT_CONNECT:
        return "no connection: " + more;
    case CURLE_SSL_CONNECT_ERROR:
        return "no secure connection: " + more;
    case CURLE_BAD_CONTENT_ENCODING:
        return "what the server compressed cannot be decompressed: " + more;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return "the server does not speak HTTP as it should: " + more;
    default:
        return more;
    }
}

// Room for descriptors: as many as this process may have.
std::size_t raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
    constexpr rlim_t enough = 16'384;
    if (limit.rlim_cur < enough && limit.rlim_cur < limit.rlim_max) {
        rlimit more = limit;
        more.rlim_cur = std::min(enough, limit.rlim_max);
        if (::setrlimit(RLIMIT_NOFILE, &more) == 0) limit = more;
    }
    return static_cast<std::size_t>(std::min<rlim_t>(limit.rlim_cur, enough));
}

Checksums read_checksums(const std::string& path) {
    if (path.empty()) return {};
    constexpr std::size_t most = 256UL * 1024 * 1024;
    int error = 0;
    const os::Fd fd = os::open_file(path.c_str(), O_RDONLY, error);
    struct stat info {};
    if (!fd || ::fstat(fd.get(), &info) != 0)
        throw OSError(fd ? errno : error, "--sha256: cannot open " + shell_word(path));
    if (!S_ISREG(info.st_mode)) return Checksums::parse(os::read_small_file(path.c_str(), most), path);
    std::string text(static_cast<std::size_t>(info.st_size), '\0');
    const ssize_t n = os::read_at(fd.get(), text.data(), text.size(), 0);
    if (n < 0) throw OSError(static_cast<int>(-n), "--sha256: cannot read " + shell_word(path));
    text.resize(static_cast<std::size_t>(n));
    return Checksums::parse(text, path);
}

} // namespace

Downloader::Downloader(FetchOptions options)
    : options_(std::move(options)),
      checksums_(read_checksums(options_.sha256)),
      report_(options_),
      source_(options_.urls, options_.lists, options_.separator),
      rate_(options_.limit_rate),
      random_(std::random_device{}()) {
    std::string folder = options_.folder;
    if (!options_.output.empty()) {
        const std::size_t slash = options_.output.rfind('/');
        if (slash != std::string::npos) {
            const std::string own = options_.output.substr(0, std::max<std::size_t>(slash, 1));
            folder = own.starts_with('/') || folder.empty() ? own : folder + "/" + own;
            options_.output.erase(0, slash + 1);
        }
    }
    if (!options_.dry_run) folder_.emplace(folder, !folder.empty());
    if (folder_ && options_.overwrite) folder_->name_all(); // only a rename replaces
    if (!options_.ca_file.empty()) {
        int error = 0;
        if (!os::open_file(options_.ca_file.c_str(), O_RDONLY, error))
            throw UsageError("--cacert: cannot open " + shell_word(options_.ca_file) + ": " + message(error));
    }
    const std::size_t descriptors = raise_descriptor_limit();
    constexpr std::size_t others = 48, each = 3;
    const auto most =
        static_cast<unsigned>(std::max<std::size_t>(1, (descriptors - std::min(descriptors, others + 16)) / each));
    if (options_.jobs > most) {
        report_.say("this process may have " + std::to_string(descriptors) + " descriptors, which is enough for -j " +
                    std::to_string(most) + "; ulimit -n raises it");
        options_.jobs = most;
    }
    finishing_limit_ =
        std::clamp<std::size_t>(descriptors - std::min(descriptors, others + options_.jobs * each), 8, 512);
    session_.emplace(loop_, *this, static_cast<long>(options_.jobs));
    for (unsigned i = 0; i < options_.jobs; ++i) free_lanes_.insert(i);
    lanes_.resize(options_.jobs);
}

Downloader::~Downloader() {
    for (const std::unique_ptr<Transfer>& t : lanes_) {
        if (!t) continue;
        ::curl_easy_cleanup(t->easy);
        ::curl_slist_free_all(t->headers);
    }
}

// ---- getting downloads

void Downloader::read_urls() {
    std::string url;
    while (!source_ended_ && !source_waits_ && urls_bytes_ < most_urls_bytes) {
        switch (source_.next(url)) {
        case UrlSource::State::ready:
            ++urls_read_;
            urls_bytes_ += url.size() + sizeof url;
            urls_.push_back(std::move(url));
            break;
        case UrlSource::State::end:
            source_ended_ = true;
            break;
        case UrlSource::State::need_data: {
            struct stat info {};
            if (::fstat(source_.fd(), &info) == 0 && S_ISREG(info.st_mode)) {
                source_.read();
                break;
            }
            source_waits_ = true;
            loop_.add_reader(source_.fd(), [this] {
                loop_.remove_reader(source_.fd());
                source_waits_ = false;
                source_.read();
                schedule();
            });
            break;
        }
        }
    }
}

void Downloader::make_downloads() {
    const std::size_t ahead = std::max<std::size_t>(256, std::size_t{4} * options_.jobs);
    while (!ending_ && waiting_ < ahead) {
        if (urls_.empty()) read_urls();
        if (urls_.empty()) return;
        std::string url = std::move(urls_.front());
        urls_.pop_front();
        urls_bytes_ -= url.size() + sizeof url;
        make_download(std::move(url), ++made_);
    }
    if (!ending_ && urls_bytes_ < most_urls_bytes / 2) read_urls(); // so that the total is known early
}

void Downloader::refuse(std::uint64_t number, std::string_view url, std::string_view path, std::string_view why) {
    FetchRecord r;
    r.number = number;
    r.url = url;
    r.path = path;
    r.error = why;
    r.start_wall_ms = wall_ms();
    report_.ended(r);
}

void Downloader::make_download(std::string url, std::uint64_t number) {
    std::optional<Address> address;
    std::string name;
    try {
        address = Address::parse(url);
        name = names_.take(options_.output.empty() ? file_name_of_path(address->path) : options_.output);
    } catch (const UsageError& error) {
        return refuse(number, shown_url(url), {}, error.what());
    }
    auto d = std::make_unique<Download>(*folder_, number, std::move(*address), std::move(name));
    if (!options_.sha256.empty()) {
        d->sha256 = checksums_.find(d->part.name());
        if (d->sha256 == nullptr)
            return refuse(number, d->address.url, folder_->path_of(d->part.name()),
                          "the list of --sha256 has no line for " + shell_word(d->part.name()) +
                              ", so it is not fetched");
    }
    Download& download = *d;
    downloads_.emplace(number, std::move(d));
    enqueue(download, false);
}

std::optional<std::uint64_t> Downloader::total() const {
    return source_ended_ ? std::optional(urls_read_) : std::nullopt;
}

void Downloader::print_plan() {
    std::string url, text;
    for (;;) {
        const UrlSource::State state = source_.next(url);
        if (state == UrlSource::State::end) break;
        if (state == UrlSource::State::need_data) {
            source_.read();
            continue;
        }
        ++made_;
        try {
            const Address a = Address::parse(url);
            const std::string name = names_.take(options_.output.empty() ? file_name_of_path(a.path) : options_.output);
            std::string path = options_.folder;
            if (!path.empty() && !path.ends_with('/')) path += '/';
            path += name;
            if (options_.json) {
                text = "{\"seq\": " + std::to_string(made_) + ", \"url\": ";
                append_json_bytes(text, a.url);
                text += ", \"file\": ";
                append_json_bytes(text, path);
                text += "}\n";
            } else {
                text = for_terminal(a.url) + "\t" + for_terminal(path) + "\n";
            }
            if (const int error = os::write_all(1, text.data(), text.size()); error != 0)
                throw OSError(-error, "cannot write to standard output");
        } catch (const UsageError& error) {
            refuse(made_, shown_url(url), {}, error.what());
        }
    }
}

// ---- starting them

Downloader::Host& Downloader::host_of(const Address& address) {
    Host& host = hosts_[address.host];
    if (host.name.empty()) host.name = address.host;
    return host;
}

void Downloader::enqueue(Download& d, bool first) {
    Host& host = host_of(d.target);
    if (first)
        host.waiting.push_front(&d);
    else
        host.waiting.push_back(&d);
    ++waiting_;
    offer(host);
}

// Until a host's name is resolved one request goes there, so that not each of many asks the resolver.
bool Downloader::has_room(const Host& host) const {
    if (!host.known) return host.running == 0;
    return options_.per_host == 0 || host.running < options_.per_host;
}

void Downloader::offer(Host& host) {
    if (host.in_turn || host.waiting.empty() || !has_room(host)) return;
    host.in_turn = true;
    turns_.push_back(&host);
}

void Downloader::schedule() {
    if (scheduling_) return; // what ended at once is seen by the loop below
    scheduling_ = true;
    for (;;) {
        make_downloads();
        if (ending_ || turns_.empty() || running_ >= options_.jobs || finishing_ >= finishing_limit_) break;
        Host& host = *turns_.front();
        turns_.pop_front();
        host.in_turn = false;
        if (host.waiting.empty() || !has_room(host)) continue;
        Download& d = *host.waiting.front();
        host.waiting.pop_front();
        --waiting_;
        if (d.checked_there || !settle_what_is_there(d)) start(d, host);
        offer(host);
    }
    scheduling_ = false;
    look_for_end();
}

void Downloader::schedule_soon() {
    if (scheduled_) return;
    scheduled_ = true;
    loop_.call_soon([this] {
        scheduled_ = false;
        schedule();
    });
}

// A file that has the name already. True when that decides about the download.
bool Downloader::settle_what_is_there(Download& d) {
    d.checked_there = true;
    d.start_ns = monotonic_ns();
    d.start_wall_ms = wall_ms();
    // What comes to be there in that moment is seen when the file gets its name.
    if (!options_.resume && folder_->lacked(d.part.name(), d.start_ns)) return false;
    struct stat info {};
    if (::fstatat(folder_->fd(), d.part.name().c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) return false;
        failed(d, "cannot look at " + shell_word(folder_->path_of(d.part.name())) + ": " + message(errno));
        return true;
    }
    const std::string path = shell_word(folder_->path_of(d.part.name()));
    if (!S_ISREG(info.st_mode) && !(options_.overwrite && S_ISLNK(info.st_mode))) {
        failed(d, path + " is there, and is no plain file");
        return true;
    }
    if (options_.resume && S_ISREG(info.st_mode)) {
        d.part.remove_leftovers();
        if (d.sha256 == nullptr) {
            report(d, true, true, {}, {});
            forget(d);
            return true;
        }
        Finisher::Job job;
        job.number = d.number;
        job.folder = folder_->fd();
        job.fd = os::Fd(::openat(folder_->fd(), d.part.name().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
        if (!job.fd) {
            failed(d, "cannot read " + path + ", which is there: " + message(errno));
            return true;
        }
        job.sha256 = *d.sha256;
        job.only_check = true;
        put_to_finish(std::move(job));
        return true;
    }
    if (options_.overwrite) return false;
    failed(d, path + " is there: --resume passes over it, --overwrite replaces it");
    return true;
}

Downloader::Transfer& Downloader::free_lane() {
    const unsigned lane = *free_lanes_.begin();
    free_lanes_.erase(free_lanes_.begin());
    if (lanes_[lane]) return *lanes_[lane];
    auto t = std::make_unique<Transfer>();
    t->owner = this;
    t->lane = lane;
    t->easy = ::curl_easy_init();
    if (t->easy == nullptr) throw Error("libcurl: out of memory");
    CURL* const easy = t->easy;
    const auto set = [easy](CURLoption option, auto value) {
        if (const CURLcode code = ::curl_easy_setopt(easy, option, value); code != CURLE_OK)
            throw Error(std::string("libcurl does not take an option: ") + ::curl_easy_strerror(code));
    };
    set(CURLOPT_PRIVATE, t.get());
    set(CURLOPT_ERRORBUFFER, t->error);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_HEADERFUNCTION, &on_header);
    set(CURLOPT_HEADERDATA, t.get());
    set(CURLOPT_WRITEFUNCTION, &on_body);
    set(CURLOPT_WRITEDATA, t.get());
    set(CURLOPT_OPENSOCKETFUNCTION, &on_open);
    set(CURLOPT_OPENSOCKETDATA, t.get());
    session_->prepare(easy);
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_FOLLOWLOCATION, 0L); // follow() does it
    set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    set(CURLOPT_BUFFERSIZE, receive_bytes);
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(std::max<std::int64_t>(1, options_.connect_ns / ms)));
    if (options_.timeout_ns > 0)
        set(CURLOPT_TIMEOUT_MS, static_cast<long>(std::max<std::int64_t>(1, options_.timeout_ns / ms)));
    set(CURLOPT_USERAGENT, options_.user_agent.c_str());
    if (options_.compressed) set(CURLOPT_ACCEPT_ENCODING, "");
    set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    set(CURLOPT_SSL_VERIFYPEER, options_.insecure ? 0L : 1L);
    set(CURLOPT_SSL_VERIFYHOST, options_.insecure ? 0L : 2L);
    if (!options_.ca_file.empty()) {
        set(CURLOPT_CAINFO, options_.ca_file.c_str());
        set(CURLOPT_CAPATH, static_cast<const char*>(nullptr));
    }
    lanes_[lane] = std::move(t);
    return *lanes_[lane];
}

void Downloader::set_headers(Transfer& t) {
    const Download& d = *t.download;
    ::curl_slist_free_all(t.headers);
    t.headers = nullptr;
    const auto add = [&t](const std::string& line) {
        curl_slist* const longer = ::curl_slist_append(t.headers, line.c_str());
        if (longer == nullptr) throw std::bad_alloc();
        t.headers = longer;
    };
    const bool at_home = d.target.origin == d.address.origin;
    for (const std::string& header : options_.headers)
        if (at_home || may_go_to_others(header)) add(header);
    if (t.range_from > 0 || d.part.size() > 0) {
        add("Range: bytes=" + std::to_string(t.range_from) + "-");
        add("If-Range: " + d.part.record()->validator());
    }
    ::curl_easy_setopt(t.easy, CURLOPT_HTTPHEADER, t.headers);
    const bool login = at_home && d.address.has_user;
    ::curl_easy_setopt(t.easy, CURLOPT_USERNAME, login ? d.address.user.c_str() : nullptr);
    ::curl_easy_setopt(t.easy, CURLOPT_PASSWORD, login ? d.address.password.c_str() : nullptr);
}

void Downloader::start(Download& d, Host& host) {
    const std::int64_t now = monotonic_ns();
    if (!d.following) {
        if (d.attempts == 0 && options_.resume && !options_.compressed && d.part.take_up() > 0)
            d.resumed_from = d.part.size();
        ++d.attempts;
        d.redirects = 0;
        d.attempt_start_ns = now;
        d.attempt_bytes = 0;
    }
    d.following = false;
    Transfer& t = free_lane();
    t.download = &d;
    t.host = &host;
    t.answer = Answer();
    t.body = Transfer::Body::none;
    t.body_begun = t.paused = t.undescribed = t.again = t.retryable = false;
    t.problem.clear();
    t.redirect.clear();
    t.retry_after_s = t.expected = -1;
    t.disk_error = 0;
    t.discarded = 0;
    t.last_activity_ns = now;
    t.error[0] = '\0';
    ++host.running;
    ++running_;

    int error = 0;
    t.range_from = 0;
    if (d.part.size() > 0) {
        // The last byte is asked for again where all are there, so that the server always has something to confirm.
        if (d.again || !d.part.record())
            error = d.part.start_again();
        else if (t.range_from = std::min(d.part.size(), d.part.record()->length - 1); t.range_from < d.part.size())
            error = d.part.cut(t.range_from);
        if (d.part.size() == 0) {
            t.range_from = 0;
            d.resumed_from = 0;
        }
    }
    d.again = false;
    if (error != 0) {
        t.disk_error = error;
        return conclude(t, CURLE_WRITE_ERROR);
    }
    set_headers(t);
    ::curl_easy_setopt(t.easy, CURLOPT_URL, d.target.url.c_str());
    session_->add(t.easy);
}

// ---- while they run

std::size_t Downloader::on_header(char* data, std::size_t size, std::size_t count, void* transfer) noexcept {
    Transfer& t = *static_cast<Transfer*>(transfer);
    const std::string_view line(data, size * count);
    try {
        t.last_activity_ns = t.owner->loop_.now_ns();
        if (t.body_begun) return line.size(); // a trailer
        if (!t.answer.line(line)) {
            t.problem = t.answer.problem();
            return 0;
        }
        if (line == "\r\n" || line == "\n") return t.owner->head_ended(t) ? line.size() : 0;
        return line.size();
    } catch (...) {
        t.problem = "out of memory";
        return 0;
    }
}

// True when the body is to come.
bool Downloader::head_ended(Transfer& t) {
    const int status = t.answer.status();
    if (status < 200) return true;
    Download& d = *t.download;
    d.status = status;
    if (status == 200 || status == 203) return accept_whole(t);
    if (status == 206) return accept_rest(t);
    t.body = Transfer::Body::discard;
    if (is_redirect(status)) return follow(t);
    if (status == 416 && d.part.size() > 0) {
        t.again = true;
        return true;
    }
    t.problem = "the server answered " + t.answer.shown_status();
    if (status / 100 == 2) t.problem += ", which is not a file";
    t.retryable = is_retryable_status(status);
    if (t.retryable) t.retry_after_s = t.answer.retry_after(wall_ms() / 1000);
    return true;
}

bool Downloader::accept_whole(Transfer& t) {
    Download& d = *t.download;
    t.body = Transfer::Body::keep;
    if (d.part.size() > 0) {
        d.resumed_from = 0;
        if ((t.disk_error = d.part.start_again()) != 0) return false;
    }
    t.range_from = 0;
    // What libcurl decompresses has neither that length nor that version.
    const bool as_sent = t.answer.is_plain() || !options_.compressed;
    t.expected = as_sent ? t.answer.content_length() : -1;
    // To see whether its version is told surely takes longer than all else about a small file, which hardly ever is kept unfinished.
    t.undescribed = t.expected > 0 && t.expected <= static_cast<std::int64_t>(PartFile::piece_bytes);
    if (t.undescribed)
        d.part.describe(-1, "", "");
    else
        describe(t);
    if (t.expected > 0 && (t.disk_error = d.part.reserve(t.expected)) != 0) return false;
    if (options_.disposition && !t.answer.disposition().empty() && d.final_name.empty())
        if (const std::optional<std::string> name = disposition_file_name(t.answer.disposition()))
            if (*name != d.part.name()) d.final_name = names_.take(*name);
    return true;
}

// What of the answer is needed to go on with its body later.
void Downloader::describe(Transfer& t) {
    t.undescribed = false;
    if (t.expected > 0)
        t.download->part.describe(t.expected, t.answer.strong_etag(), t.answer.strong_date());
    else
        t.download->part.describe(-1, "", "");
}

bool Downloader::accept_rest(Transfer& t) {
    Download& d = *t.download;
    if (d.part.size() == 0) {
        t.problem = "the server answered 206 Partial Content, though all was asked for";
        return false;
    }
    const ResumeRecord& record = *d.part.record();
    const std::optional<ContentRange> range = parse_content_range(t.answer.content_range());
    const bool right =
        range && range->first == t.range_from && range->last == record.length - 1 && range->length == record.length &&
        (record.etag.empty() ? t.answer.last_modified() == record.modified : t.answer.etag() == record.etag) &&
        (t.answer.content_length() < 0 || t.answer.content_length() == record.length - t.range_from) &&
        t.answer.is_plain();
    if (!right) {
        t.again = true;
        return false;
    }
    t.body = Transfer::Body::keep;
    t.expected = record.length;
    t.disk_error = d.part.reserve(record.length);
    return t.disk_error == 0;
}

bool Downloader::follow(Transfer& t) {
    Download& d = *t.download;
    if (t.answer.location().empty()) {
        t.problem = "the server answered " + t.answer.shown_status() + ", but does not say where to";
    } else if (d.redirects >= most_redirects) {
        t.problem = "more than " + std::to_string(most_redirects) + " redirects, the last one to " +
                    shown_url(t.answer.location());
    } else {
        try {
            Address target = Address::parse(t.answer.location(), d.target.url);
            if (d.target.scheme == "https" && target.scheme != "https")
                t.problem = "a redirect from https to plain http is not followed: to " + shown_url(target.url);
            else
                t.redirect = target.url;
        } catch (const UsageError& error) {
            t.problem = "a redirect to " + shown_url(t.answer.location()) + ": " + error.what();
        }
    }
    return true;
}

std::size_t Downloader::on_body(char* data, std::size_t size, std::size_t count, void* transfer) noexcept {
    Transfer& t = *static_cast<Transfer*>(transfer);
    Downloader& self = *t.owner;
    const std::size_t bytes = size * count;
    const auto signed_bytes = static_cast<std::int64_t>(bytes);
    try {
        t.body_begun = true;
        t.last_activity_ns = self.loop_.now_ns();
        if (t.body != Transfer::Body::keep) {
            t.discarded += signed_bytes;
            return t.discarded > most_discarded ? 0 : bytes; // what follows from the head is done all the same
        }
        if (self.rate_.is_set() && !self.rate_.take(signed_bytes, monotonic_ns())) {
            t.paused = true;
            self.paused_.push_back(&t);
            if (!self.rate_timer_set_) {
                self.rate_timer_set_ = true;
                const std::int64_t now = monotonic_ns();
                self.rate_timer_ = self.loop_.call_later(std::chrono::nanoseconds(self.rate_.next_ns(now) - now),
                                                         [&self] { self.resume_paused(); });
            }
            return CURL_WRITEFUNC_PAUSE;
        }
        Download& d = *t.download;
        d.fetched += signed_bytes;
        d.attempt_bytes += signed_bytes;
        self.fetched_ += signed_bytes;
        if (t.expected >= 0 && d.part.size() + signed_bytes > t.expected) {
            t.problem = "more bytes came than the server had announced";
            t.undescribed = false;
            d.part.describe(-1, "", ""); // what is there is not to be gone on with
            return 0;
        }
        t.disk_error = d.part.write({data, bytes}, d.part.size() + signed_bytes == t.expected);
        return t.disk_error == 0 ? bytes : 0;
    } catch (...) {
        t.problem = "out of memory";
        return 0;
    }
}

curl_socket_t Downloader::on_open(void* transfer, curlsocktype, curl_sockaddr* address) noexcept {
    Transfer& t = *static_cast<Transfer*>(transfer);
    const int fd = ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (!t.host->known) {
        t.host->known = true;
        if (!t.host->waiting.empty()) {
            try {
                t.owner->offer(*t.host);
                t.owner->schedule_soon();
            } catch (...) { // out of memory: they start when this one has ended
            }
        }
    }
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

void Downloader::resume_paused() {
    rate_timer_set_ = false;
    std::size_t round = paused_.size();
    while (round-- > 0 && !paused_.empty() && rate_.next_ns(monotonic_ns()) <= monotonic_ns()) {
        Transfer& t = *paused_.front();
        paused_.pop_front();
        t.paused = false;
        t.last_activity_ns = monotonic_ns();
        ::curl_easy_pause(t.easy, CURLPAUSE_CONT); // may call on_body, which may put it at the end again
    }
    if (paused_.empty() || rate_timer_set_) return;
    rate_timer_set_ = true;
    const std::int64_t now = monotonic_ns();
    rate_timer_ = loop_.call_later(std::chrono::nanoseconds(rate_.next_ns(now) - now), [this] { resume_paused(); });
}

// Now and then: has something come, and is it where a kill leaves it?
void Downloader::tick() {
    const std::int64_t now = monotonic_ns();
    for (const std::unique_ptr<Transfer>& t : lanes_) {
        if (!t || t->download == nullptr || t->paused) continue;
        Download& d = *t->download;
        if (t->body == Transfer::Body::keep && t->expected > static_cast<std::int64_t>(PartFile::piece_bytes) &&
            t->problem.empty() && t->disk_error == 0)
            t->disk_error = d.part.flush();
        const bool stalled = now - t->last_activity_ns >= options_.stall_ns;
        if (!stalled && t->disk_error == 0) continue;
        if (stalled && t->disk_error == 0) {
            t->problem = "nothing has come for " + show_duration(options_.stall_ns);
            t->retryable = true;
        }
        session_->remove(t->easy);
        conclude(*t, CURLE_OPERATION_TIMEDOUT);
    }
    schedule();
    loop_.call_later(std::chrono::nanoseconds(std::min(second, options_.stall_ns / 2)), [this] { tick(); });
}

void Downloader::draw() {
    std::vector<FetchGlance> active;
    FetchReport::State state;
    for (const std::unique_ptr<Transfer>& t : lanes_) {
        if (!t || t->download == nullptr) continue;
        const std::int64_t have = t->download->part.size();
        state.active_have += have;
        state.active_length += std::max(have, t->expected);
        if (active.size() < FetchReport::most_shown) active.push_back({t->download->part.name(), have, t->expected});
    }
    state.now = monotonic_ns();
    state.start = start_ns_;
    state.fetched = fetched_;
    state.running = running_;
    state.total = total();
    report_.progress(state, active);
    loop_.call_later(std::chrono::nanoseconds(FetchReport::interval_ns), [this] { draw(); });
}

// ---- when they end

void Downloader::transfer_ended(CURL* easy, CURLcode code) {
    Transfer* t = nullptr;
    ::curl_easy_getinfo(easy, CURLINFO_PRIVATE, &t);
    conclude(*t, code);
    schedule();
}

void Downloader::release(Transfer& t) {
    if (t.undescribed) describe(t);
    if (t.paused) paused_.erase(std::remove(paused_.begin(), paused_.end(), &t), paused_.end());
    t.paused = false;
    t.download = nullptr;
    free_lanes_.insert(t.lane);
    --running_;
    Host& host = *t.host;
    --host.running;
    host.known = true; // or it is not to be found: then the others need not wait for each other
    if (host.waiting.empty() && host.running == 0 && hosts_.size() > most_hosts)
        hosts_.erase(hosts_.find(std::string(host.name)));
    else
        offer(host);
}

void Downloader::row(const Transfer& t, std::string_view outcome, bool tried_again) {
    const Download& d = *t.download;
    Timeline::Row r;
    r.number = d.number;
    r.slot = t.lane + 1;
    r.retried = tried_again ? d.attempts : 0;
    r.start_ns = d.attempt_start_ns - start_ns_;
    r.runtime_ns = monotonic_ns() - d.attempt_start_ns;
    r.outcome_word = outcome;
    r.bytes = d.attempt_bytes;
    r.label = d.address.url;
    report_.attempt(r);
}

// What follows from a request, now that libcurl has let go of it.
void Downloader::conclude(Transfer& t, CURLcode code) {
    Download& d = *t.download;
    if (t.disk_error != 0) {
        const int error = t.disk_error;
        row(t, "disk", false);
        release(t);
        return failed(d, disk_sentence(error, shell_word(folder_->path_of(d.part.part_name()))));
    }
    if (t.again) {
        if (++d.restarts > most_restarts)
            return failed_attempt(t, "the server does not keep to what it says about parts of files", false, -1);
        d.again = d.following = true;
        release(t);
        return enqueue(d, true);
    }
    if (!t.problem.empty()) return failed_attempt(t, std::move(t.problem), t.retryable, t.retry_after_s);
    if (!t.redirect.empty()) {
        d.target = Address::parse(t.redirect);
        ++d.redirects;
        d.following = true;
        release(t);
        return enqueue(d, true);
    }
    // A signature that is wrong comes as an error of OpenSSL's decoder, not as a verdict.
    if (code == CURLE_SSL_CONNECT_ERROR &&
        std::string_view(t.error).find("asn1 encoding routines") != std::string_view::npos)
        return failed_attempt(t, untrusted + "its signature is wrong, or it cannot be read", false, -1);
    if (code != CURLE_OK) return failed_attempt(t, curl_sentence(code, t.error, d.target), is_retryable(code), -1);
    if (t.body != Transfer::Body::keep)
        return failed_attempt(t, "the server gave no answer that can be used", true, -1);
    if (t.expected >= 0 && d.part.size() != t.expected)
        return failed_attempt(
            t,
            "the answer ended before its end: " + with_commas(static_cast<std::uint64_t>(d.part.size())) + " of " +
                with_commas(static_cast<std::uint64_t>(t.expected)) + " bytes",
            true, -1);
    if (const int error = d.part.flush(true); error != 0) {
        row(t, "disk", false);
        release(t);
        return failed(d, disk_sentence(error, shell_word(folder_->path_of(d.part.part_name()))));
    }
    row(t, "", false);
    t.undescribed = false; // it is there
    release(t);
    whole(d);
}

void Downloader::whole(Download& d) {
    Finisher::Job job;
    job.number = d.number;
    job.folder = folder_->fd();
    if (!d.part.is_nameless()) job.part = d.part.part_name();
    if (d.part.has_record_file()) job.record = d.part.record_name();
    job.fd = d.part.release();
    job.name = d.final_name.empty() ? d.part.name() : d.final_name;
    if (d.sha256 != nullptr) job.sha256 = *d.sha256;
    job.replace = options_.overwrite;
    put_to_finish(std::move(job));
}

// Some at a time: to wake the Finisher for each small file costs more than what it does, and together they are synced once.
void Downloader::put_to_finish(Finisher::Job job) {
    ++finishing_;
    to_finish_.push_back(std::move(job));
    const bool more_to_come = running_ > 0 || waiting_ > 0;
    if (!more_to_come || to_finish_.size() >= std::min(finish_together, finishing_limit_ / 2)) return finish_those();
    if (to_finish_.size() == 1)
        finish_timer_ = loop_.call_later(std::chrono::nanoseconds(longest_gathering), [this] { finish_those(); });
}

void Downloader::finish_those() {
    finish_timer_.cancel();
    if (!to_finish_.empty()) finisher_->put(std::exchange(to_finish_, {}));
}

void Downloader::finished(std::vector<Finisher::Result>& results) {
    for (Finisher::Result& r : results) {
        --finishing_;
        Download& d = *downloads_.at(r.number);
        const auto path = [&] {
            return shell_word(folder_->path_of(d.final_name.empty() ? d.part.name() : d.final_name));
        };
        const bool was_there = d.attempts == 0;
        switch (r.outcome) {
        case Finisher::Outcome::done:
            succeeded(d, r.sha256, was_there);
            break;
        case Finisher::Outcome::exists:
            failed(d, path() + " has come to be there meanwhile; it was not replaced");
            break;
        case Finisher::Outcome::stays_nameless:
            if (!ending_) {
                folder_->name_all();
                d.part.remove();
                d.resumed_from = 0;
                enqueue(d, true);
                break;
            }
            [[fallthrough]];
        case Finisher::Outcome::failed:
            failed(d, path() + " could not be " + r.what + ": " + message(r.error));
            break;
        case Finisher::Outcome::wrong_hash:
            if (was_there && options_.overwrite) {
                enqueue(d, true);
            } else if (was_there) {
                failed(d, path() + " is there, but its SHA-256 is " + r.sha256 + " and not " + *d.sha256 +
                              "; with --overwrite it is fetched again");
            } else if (d.resumed_from > 0 && !ending_) { // maybe what was there was not what it seemed
                d.part.remove();
                d.resumed_from = 0;
                enqueue(d, true);
            } else {
                failed(d, "its SHA-256 is " + r.sha256 + " and not " + *d.sha256 + ", so it was thrown away");
            }
            break;
        }
    }
    schedule();
}

void Downloader::failed_attempt(Transfer& t, std::string why, bool may_retry, std::int64_t after_s) {
    Download& d = *t.download;
    if (may_retry && after_s > longest_retry_after_s) {
        may_retry = false;
        why += ", and to come back after " + std::to_string(after_s) + " s";
    }
    const bool again = may_retry && d.attempts <= options_.retries && !ending_;
    row(t, t.answer.status() >= 300 ? std::to_string(t.answer.status()) : "failed", again);
    release(t);
    if (!again) return failed(d, std::move(why));
    d.target = d.address; // redirects may lead elsewhere next time
    const unsigned doublings = std::min(d.attempts - 1, 30U);
    double delay = static_cast<double>(options_.retry_delay_ns) * static_cast<double>(1ULL << doublings);
    delay = std::min(delay, static_cast<double>(std::max(longest_back_off, options_.retry_delay_ns)));
    // Between half and all of it, so that those who failed together do not come back together.
    delay *= std::uniform_real_distribution<double>(0.5, 1)(random_);
    const auto wait = std::max(static_cast<std::int64_t>(delay), after_s * second);
    d.retry = loop_.call_later(std::chrono::nanoseconds(wait), [this, &d] {
        enqueue(d, true);
        schedule();
    });
}

void Downloader::report(const Download& d, bool ok, bool skipped, std::string_view sha256, std::string_view error) {
    const std::string path = folder_->path_of(d.final_name.empty() ? d.part.name() : d.final_name);
    FetchRecord r;
    r.number = d.number;
    r.url = d.address.url;
    r.path = path;
    r.ok = ok;
    r.skipped = skipped;
    r.status = d.status;
    r.bytes = d.part.size();
    r.fetched = d.fetched;
    r.resumed_from = d.resumed_from;
    r.attempts = d.attempts;
    r.start_wall_ms = d.start_wall_ms;
    r.runtime_ns = monotonic_ns() - d.start_ns;
    r.sha256 = sha256;
    r.error = error;
    report_.ended(r);
}

void Downloader::forget(Download& d) { downloads_.erase(d.number); }

void Downloader::succeeded(Download& d, std::string_view sha256, bool skipped) {
    report(d, true, skipped, sha256, {});
    forget(d);
}

void Downloader::failed(Download& d, std::string why) {
    const std::int64_t had = d.part.size();
    if (d.part.keep()) {
        ++kept_;
        why += "; " + show_bytes(had) + " are kept: --resume goes on from there";
    }
    report(d, false, false, {}, why);
    forget(d);
}

void Downloader::look_for_end() {
    if (!downloads_.empty() && !ending_) return;
    if (!ending_ && !(source_ended_ && urls_.empty())) return;
    if (finishing_ == 0) loop_.stop();
}

void Downloader::end_early(std::string why, int exit_status) {
    if (ending_) { // for the second time
        loop_.stop();
        return;
    }
    ending_ = true;
    ended_why_ = std::move(why);
    exit_status_ = exit_status;
    if (source_waits_) loop_.remove_reader(source_.fd());
    for (const std::unique_ptr<Transfer>& t : lanes_) {
        if (!t || t->download == nullptr) continue;
        session_->remove(t->easy);
        row(*t, "interrupted", true);
        release(*t);
    }
    for (const auto& [number, d] : downloads_) {
        d->retry.cancel();
        if (d->part.keep()) ++kept_;
    }
    finish_those();
    look_for_end();
}

int Downloader::run() {
    if (options_.insecure)
        report_.say("--insecure: who the servers are is not checked; others may read and change what is fetched");
    if (options_.dry_run) {
        print_plan();
        return static_cast<int>(std::min<std::uint64_t>(report_.failed(), 101));
    }
    const os::IgnoredSignal broken_pipe(SIGPIPE), too_large(SIGXFSZ);
    start_ns_ = monotonic_ns();
    start_wall_ms_ = wall_ms();
    finisher_.emplace(loop_, [this](std::vector<Finisher::Result>& results) { finished(results); });
    loop_.set_exception_handler([this](loop::EventLoop&, const loop::ExceptionContext& context) {
        if (!fatal_) fatal_ = context.exception;
        end_early("an error", 255);
    });
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        if (os::is_ignored(signal)) continue;
        loop_.add_signal_handler(signal, [this, signal] {
            const char* const name = ::sigabbrev_np(signal);
            end_early(std::string("interrupted by ") + (name != nullptr ? name : "a signal"), 128 + signal);
        });
    }
    loop_.call_soon([this] {
        tick();
        if (report_.shows_progress()) draw();
    });
    loop_.run_forever();
    finisher_.reset();
    FetchReport::End end;
    end.wall_ns = monotonic_ns() - start_ns_;
    end.started_wall_ms = start_wall_ms_;
    end.fetched = fetched_;
    end.slots = options_.jobs;
    end.cores = static_cast<unsigned>(os::usable_cpu_count());
    end.ended = ended_why_;
    end.kept = kept_;
    if (fatal_) std::rethrow_exception(fatal_);
    report_.finish(end);
    if (exit_status_ != 0) return exit_status_;
    return static_cast<int>(std::min<std::uint64_t>(report_.failed(), 101));
}

} // namespace sennit::tools
