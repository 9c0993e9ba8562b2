package access

// Reach returns all that can be come to from where it begins, those included: edges lead from each to the next.
func Reach[T comparable](edges map[T][]T, from ...T) map[T]bool {
	reached := make(map[T]bool)
	for queue := from; len(queue) > 0; queue = queue[1:] {
		if at := queue[0]; !reached[at] {
			reached[at] = true
			queue = append(queue, edges[at]...)
		}
	}
	return reached
}
