module github.com/pgscope/pgscope-proxy

go 1.26.0
