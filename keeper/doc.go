// Package keeper keeps a server at its manifest, as long as a process runs.
//
//	every interval ──────────┐
//	the manifest's files ────┤  due   ┌──────── for each database, in order ────────┐
//	SIGHUP ──────────────────┼───────▶│ reconcile.Run: observe, plan, (repair) ──────┼──▶ State, metrics, log
//	statements that passed ──┘        └──────────────────────────────────────────────┘
//
// [Keeper.Run] does it all in one goroutine. Each database stands by itself: one that cannot be observed or repaired is
// tried again, after a pause that doubles each time, and the others go on. So do the other roles of that database.
//
// Several processes may keep one cluster. All of them observe; one that has something to do holds the cluster's advisory
// lock meanwhile. One that does not get the lock looks again soon, and finds that nothing is left to do or that the lock is
// free.
//
// A server that is as it should be is only read, in a read-only transaction.
package keeper
