// A relay as Go's documentation suggests one: io.Copy each way, which splices by
// itself from one TCP connection to another.
package main

import (
	"io"
	"log"
	"net"
	"os"
)

func forward(to, from *net.TCPConn, done chan<- error) {
	_, err := io.Copy(to, from)
	to.CloseWrite()
	done <- err
}

func relay(client *net.TCPConn, target *net.TCPAddr) {
	defer client.Close()
	upstream, err := net.DialTCP("tcp", nil, target)
	if err != nil {
		return
	}
	defer upstream.Close()
	done := make(chan error, 2)
	go forward(upstream, client, done)
	go forward(client, upstream, done)
	<-done
	<-done
}

func resolve(port string) *net.TCPAddr {
	place, err := net.ResolveTCPAddr("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	return place
}

func main() {
	target := resolve(os.Args[2])
	listener, err := net.ListenTCP("tcp", resolve(os.Args[1]))
	if err != nil {
		log.Fatal(err)
	}
	for {
		client, err := listener.AcceptTCP()
		if err != nil {
			log.Fatal(err)
		}
		go relay(client, target)
	}
}
