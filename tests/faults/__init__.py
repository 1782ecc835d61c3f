"""What happens to jobs when processes, servers, disks, memory and clocks fail under them."""
