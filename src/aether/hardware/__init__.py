"""What a machine can do: its measured or cited rates, and the roofline arithmetic over them."""
