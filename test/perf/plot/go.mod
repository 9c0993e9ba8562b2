module plot

go 1.26
