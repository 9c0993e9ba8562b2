// Package keeper keeps a server at its manifest, as long as a process runs.
//
//	every interval ──────────┐
//	the manifest's files ────┤  due   ┌──────── for each database, in order ────────┐
//	SIGHUP ──────────────────┼───────▶│ reconcile.Run: observe, plan, (repair) ──────┼──▶ State, metrics, log
//	statements that passed ──┘        └──────────────────────────────────────────────┘
//
// [Keeper.Run] does it all in one goroutine. Each database is for itself: where one cannot be looked at, or not be made as it
// should be, it is tried again after a pause that doubles each time, and the others go on. So do the other roles of that
// database.
//
// Several processes may keep one cluster. All of them look; who has something to do takes the cluster's advisory lock
// for as long as it does it, and who does not get it stands by, looks again soon, and finds that there is nothing left to
// do, or that the lock is free.
//
// A server that is as it should be is only read, in a transaction that cannot write.
package keeper
