// The Go side of every topic: go-peers TOPIC [--rounds N]. One row a sample, as common/bench.hpp prints them.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var rounds = 3
var only = ""

// sample runs once to warm up and then `rounds` times.
func sample(inCase, who, unit string, once func() float64) {
	if !strings.Contains(inCase+": "+who, only) {
		return
	}
	once()
	for i := 0; i < rounds; i++ {
		fmt.Printf("%s\t%s\t%.6g\t%s\n", inCase, who, once(), unit)
	}
}

func lock() {
	const who = "Go sync.Mutex"
	sample("uncontended", who, "ns/pair", func() float64 {
		const pairs = 5000000
		var m sync.Mutex
		start := time.Now()
		for i := 0; i < pairs; i++ {
			m.Lock()
			m.Unlock()
		}
		return time.Since(start).Seconds() / pairs * 1e9
	})
	for _, n := range []int{2, 4} {
		inCase := fmt.Sprintf("contended, %d threads", n)
		var most []float64
		sample(inCase, who, "Mpairs/s", func() float64 {
			var shared struct {
				m       sync.Mutex
				guarded int
			}
			var stop int32
			var all sync.WaitGroup
			done := make([]int, n)
			all.Add(n)
			start := time.Now()
			for g := 0; g < n; g++ {
				go func(g int) {
					mine := 0
					for atomic.LoadInt32(&stop) == 0 {
						shared.m.Lock()
						shared.guarded++
						shared.m.Unlock()
						mine++
					}
					done[g] = mine
					all.Done()
				}(g)
			}
			time.Sleep(200 * time.Millisecond)
			atomic.StoreInt32(&stop, 1)
			all.Wait()
			took := time.Since(start).Seconds()
			luckiest := 0
			for _, d := range done {
				if d > luckiest {
					luckiest = d
				}
			}
			most = append(most, 100*float64(luckiest)/float64(shared.guarded))
			return float64(shared.guarded) / took / 1e6
		})
		for i := 1; i < len(most); i++ { // without the warm-up
			fmt.Printf("%s, share of the luckiest\t%s\t%.6g\t%%\n", inCase, who, most[i])
		}
	}
}

func queue() {
	for _, n := range []int{1, 2, 4} {
		sample(fmt.Sprintf("%d to %d", n, n), "Go channel, 1024", "Mitems/s", func() float64 {
			const total = 1000000
			channel := make(chan int, 1024)
			var all sync.WaitGroup
			all.Add(2 * n)
			start := time.Now()
			for i := 0; i < n; i++ {
				go func() {
					for k := 0; k < total/n; k++ {
						channel <- k
					}
					all.Done()
				}()
				go func() {
					for k := 0; k < total/n; k++ {
						<-channel
					}
					all.Done()
				}()
			}
			all.Wait()
			return total / time.Since(start).Seconds() / 1e6
		})
	}
}

func pool() {
	type task struct {
		call   func() int
		result chan int
	}
	give := func() int { return 1 }
	start := func() (chan task, func(int) float64) {
		tasks := make(chan task, 1024)
		for w := 0; w < 2; w++ {
			go func() {
				for t := range tasks {
					t.result <- t.call()
				}
			}()
		}
		run := func(total int) float64 {
			results := make([]chan int, total)
			began := time.Now()
			for i := range results {
				results[i] = make(chan int, 1)
				tasks <- task{give, results[i]}
			}
			sum := 0
			for _, r := range results {
				sum += <-r
			}
			if sum != total {
				panic("a pool lost or doubled a task")
			}
			return time.Since(began).Seconds()
		}
		return tasks, run
	}
	sample("1,000,000 empty tasks, a future each", "Go, 2 goroutines, a channel each", "Mtasks/s", func() float64 {
		const total = 300000
		tasks, run := start()
		defer close(tasks)
		return total / run(total) / 1e6
	})
	sample("one task at a time", "Go, 2 goroutines, a channel each", "us", func() float64 {
		const total = 5000
		tasks, run := start()
		defer close(tasks)
		took := 0.0
		for i := 0; i < total; i++ {
			took += run(1)
		}
		return took / total * 1e6
	})
}

func spawn() {
	sample("small parent", "Go exec.Command.Run", "spawns/s", func() float64 {
		const children = 200
		start := time.Now()
		for i := 0; i < children; i++ {
			if err := exec.Command("/bin/true").Run(); err != nil {
				panic(err)
			}
		}
		return children / time.Since(start).Seconds()
	})
}

// The server of topic echo: prints its port, echoes until killed.
func serveEcho() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			defer connection.Close()
			buffer := make([]byte, 4096)
			for {
				n, err := connection.Read(buffer)
				if err != nil {
					return
				}
				if _, err = connection.Write(buffer[:n]); err != nil {
					return
				}
			}
		}()
	}
}

func coroutine() {
	const batch = 1000
	sample("create + join a task, 1,000 at a time", "Go goroutine", "ns", func() float64 {
		const rounds = 100
		start := time.Now()
		for r := 0; r < rounds; r++ {
			var all sync.WaitGroup
			all.Add(batch)
			for i := 0; i < batch; i++ {
				go all.Done()
			}
			all.Wait()
		}
		return time.Since(start).Seconds() / (rounds * batch) * 1e9
	})
	sample("switch through the loop, 2 tasks", "Go Gosched", "ns", func() float64 {
		const n = 300000
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		var both sync.WaitGroup
		both.Add(2)
		start := time.Now()
		for g := 0; g < 2; g++ {
			go func() {
				for i := 0; i < n; i++ {
					runtime.Gosched()
				}
				both.Done()
			}()
		}
		both.Wait()
		return time.Since(start).Seconds() / (2 * n) * 1e9
	})
}

func sleepers() {
	const n, who = 1000000, "Go goroutine + time.Sleep"
	resident := func(key string) float64 {
		text, _ := os.ReadFile("/proc/self/status")
		for _, line := range strings.Split(string(text), "\n") {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == key {
				kib, _ := strconv.ParseFloat(fields[1], 64)
				return kib * 1024
			}
		}
		return 0
	}
	before := resident("VmRSS:")
	var all sync.WaitGroup
	all.Add(n)
	start := time.Now()
	for i := 0; i < n; i++ {
		go func() {
			time.Sleep(time.Second)
			all.Done()
		}()
	}
	all.Wait()
	took := time.Since(start).Seconds()
	// Once a process, for what was used once is kept.
	fmt.Printf("1,000,000 sleep for 1 s: all done\t%s\t%.6g\ts\n", who, took)
	fmt.Printf("1,000,000 sleep for 1 s: memory\t%s\t%.6g\tbytes each\n", who, (resident("VmHWM:")-before)/n)
}

func main() {
	topics := map[string]func(){
		"coroutine": coroutine,
		"lock":      lock,
		"pool":      pool,
		"queue":     queue,
		"sleepers":  sleepers,
		"spawn":     spawn,
	}
	if len(os.Args) == 2 && os.Args[1] == "serve-echo" {
		serveEcho()
	}
	if len(os.Args) < 2 || topics[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: go-peers coroutine|lock|pool|queue|sleepers|spawn [--rounds N] [--only TEXT]")
		os.Exit(255)
	}
	flags := flag.NewFlagSet("go-peers", flag.ExitOnError)
	flags.IntVar(&rounds, "rounds", rounds, "samples of each contender")
	flags.StringVar(&only, "only", only, `a part of "case: contender"`)
	flags.Parse(os.Args[2:])
	runtime.GOMAXPROCS(2)
	topics[os.Args[1]]()
}
