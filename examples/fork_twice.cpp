// fork returns twice: once in the parent, once in the child.
#include <cstdio>
#include <sys/wait.h>
#include <unistd.h>

int main() {
    std::printf("Process (%d) start...\n", ::getpid());
    std::fflush(stdout); // else the child would print it again
    const pid_t pid = ::fork();
    if (pid < 0) {
        std::perror("fork");
        return 1;
    }
    if (pid == 0) {
        std::printf("I am child process (%d) and my parent is %d.\n", ::getpid(), ::getppid());
        return 0;
    }
    ::waitpid(pid, nullptr, 0);
    std::printf("I (%d) just created a child process (%d).\n", ::getpid(), pid);
}
