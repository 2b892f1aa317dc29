// A subclass that overrides run(). It joins in its own destructor: ~Thread comes too late for its members.
#include <sennit/threading.hpp>

#include <cstdio>

class MyThread final : public sennit::threading::Thread {
  public:
    explicit MyThread(int number) : number_(number) {}
    ~MyThread() override { join_if_started(); }
    void run() override { std::printf("running on number:%d\n", number_); }

  private:
    int number_;
};

int main() {
    MyThread a(1), b(2);
    a.start();
    b.start();
}
